package protocol

// maxCryptoParts bounds the CRYPTO frames kept of a flight. Chrome shuffles a
// ClientHello into some dozens.
const maxCryptoParts = 256

// cryptoStream puts CRYPTO frames in order. Frames may be split, shuffled,
// repeated and spread over datagrams (RFC 9000 section 19.6).
type cryptoStream struct {
	parts []cryptoPart
}

type cryptoPart struct {
	offset int
	data   []byte
}

// frames collects the CRYPTO frames of one decrypted packet. Only the frames
// that an Initial packet may hold are known (RFC 9000 section 17.2.2).
func (s *cryptoStream) frames(plain []byte) {
	for c := newCursor(plain); len(c.b) > 0 && c.ok; {
		switch kind := c.varint(); kind {
		case 0x00, 0x01: // PADDING, PING
		case 0x02, 0x03:
			c.ack(kind == 0x03)
		case 0x06:
			offset := c.varint()
			data := c.take(c.varint())
			if c.ok && len(s.parts) < maxCryptoParts && offset+len(data) <= maxHandshake {
				s.parts = append(s.parts, cryptoPart{offset, data})
			}
		default: // CONNECTION_CLOSE ends what is of use
			return
		}
	}
}

// ack skips an ACK frame, RFC 9000 section 19.3.
func (c *cursor) ack(ecn bool) {
	c.varint() // largest acknowledged
	c.varint() // delay
	ranges := c.varint()
	c.varint() // first range
	for ; ranges > 0 && c.ok; ranges-- {
		c.varint()
		c.varint()
	}
	if ecn {
		c.varint()
		c.varint()
		c.varint()
	}
}

// message gives the first handshake message, when it is of the kind wanted and
// all of it has come.
func (s *cryptoStream) message(kind byte) ([]byte, bool) {
	have := 0
	for grown := true; grown; {
		grown = false
		for _, p := range s.parts {
			if end := p.offset + len(p.data); p.offset <= have && end > have {
				have, grown = end, true
			}
		}
	}
	if have < 4 {
		return nil, false
	}
	whole := make([]byte, have)
	for _, p := range s.parts {
		if p.offset < have {
			copy(whole[p.offset:], p.data)
		}
	}
	n := 4 + int(whole[1])<<16 + int(whole[2])<<8 + int(whole[3])
	if whole[0] != kind || n > have {
		return nil, false
	}
	return whole[4:n], true
}
