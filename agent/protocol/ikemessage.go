package protocol

import "encoding/binary"

// The header of IKE, the same in both versions: initiator SPI, responder SPI,
// next payload, version, exchange, flags, message id, length (RFC 2408 section
// 3.1, RFC 7296 section 3.1).
const (
	ikeHeader  = 28
	ikeNext    = 16
	ikeVersion = 17
	ikeExch    = 18
	ikeFlags   = 19
	ikeLength  = 24
)

// Values of the header.
const (
	ike1 = 0x10
	ike2 = 0x20

	ike1Encrypted = 0x01 // RFC 2408 3.1, flags
	ike1Flags     = 0x07 // encryption, commit, authentication only
	ike2Initiator = 0x08 // RFC 7296 3.1, flags
	ike2Response  = 0x20
	ike2Flags     = 0x38 // initiator, version, response

	ike2SAInit = 34
	// A datagram that IP has cut is at least as long as the smallest packet that
	// every link takes, 576 bytes (RFC 791), less headers and options.
	ikeFragment = 480

	ike2SK  = 46 // encrypted, RFC 7296 3.14
	ike2SKF = 53 // encrypted fragment, RFC 7383 2.5
)

// ikeMessage is the version of the IKE message in b, 0 when it is none. length
// is what was on the wire: b may be cut. A header alone is 17 fixed or bounded
// bytes; the chain of payloads behind it must fit too.
func ikeMessage(b []byte, length int) byte {
	if len(b) < ikeHeader || binary.BigEndian.Uint64(b) == 0 {
		return 0
	}
	said := binary.BigEndian.Uint32(b[ikeLength:])
	if said < ikeHeader || said > 0xffff {
		return 0
	}
	switch b[ikeVersion] {
	case ike1:
		if ike1Header(b) && ikeFits(b, length, int(said), b[ikeFlags]&ike1Encrypted == 0) {
			return ike1
		}
	case ike2:
		if ike2Header(b) && ikeFits(b, length, int(said), true) {
			return ike2
		}
	}
	return 0
}

// ike1Header checks the exchange, the flags and the first payload: RFC 2408 3.1
// with the exchanges of RFC 2409 (quick mode 32, new group 33) and the payloads
// of RFC 3547 and RFC 3947 up to 21, or the private ones, which drafts of NAT
// traversal and fragmentation use.
func ike1Header(b []byte) bool {
	exchange, next := b[ikeExch], b[ikeNext]
	switch {
	case exchange >= 1 && exchange <= 6, exchange == 32, exchange == 33, exchange >= 240:
	default:
		return false
	}
	return b[ikeFlags]&^ike1Flags == 0 && (next <= 21 || next >= 128)
}

// ike2Header checks the same of version 2: exchanges 34 to 44 and payloads 33
// to 54 as the IANA registry "IKEv2 Parameters" has them, or private ones. The
// first message of all has the initiator's flag, no responder SPI and id 0.
func ike2Header(b []byte) bool {
	exchange, next, flags := b[ikeExch], b[ikeNext], b[ikeFlags]
	switch {
	case exchange >= ike2SAInit && exchange <= 44, exchange >= 240:
	default:
		return false
	}
	switch {
	case next == 0, next >= 33 && next <= 54, next >= 128:
	default:
		return false
	}
	if flags&^ike2Flags != 0 {
		return false
	}
	// Only IKE_SA_INIT and its resumption may lack the responder's SPI.
	return !zero(b[8:16]) || exchange == ike2SAInit || exchange == 38 || exchange == 37
}

// ikeFits compares the length that the message says with the datagram's and
// looks at the payloads where they are in the clear: the first must be sound. A
// message longer than the datagram is the first IP fragment of one: then the
// whole chain must bear it out.
func ikeFits(b []byte, length, said int, clear bool) bool {
	if said == length {
		return !clear || ikeFirstPayload(b, said)
	}
	return said > length && length >= ikeFragment && clear && ikeChain(b, said)
}

// ikePayload is the size of the payload at a place, 0 when its generic header is
// not sound: next, reserved (in version 2 a critical bit), length (RFC 2408 3.2,
// RFC 7296 3.2).
func ikePayload(b []byte, at, said int) int {
	if at+4 > len(b) || b[at+1]&0x7f != 0 {
		return 0
	}
	n := int(binary.BigEndian.Uint16(b[at+2:]))
	if n < 4 || at+n > said {
		return 0
	}
	return n
}

func ikeFirstPayload(b []byte, said int) bool {
	if b[ikeNext] == 0 {
		return said == ikeHeader
	}
	return ikePayload(b, ikeHeader, said) != 0
}

// ikeChain walks the payloads to the end of the message, or of what there is of
// it. What is encrypted is the last (RFC 7296 3.14): its "next" is inside.
func ikeChain(b []byte, said int) bool {
	next, at := b[ikeNext], ikeHeader
	for next != 0 {
		if at > ikeHeader && at+4 > len(b) {
			return true // the rest is in other fragments
		}
		n := ikePayload(b, at, said)
		if n == 0 {
			return false
		}
		if b[ikeVersion] == ike2 && (next == ike2SK || next == ike2SKF) {
			return at+n == said
		}
		next, at = b[at], at+n
	}
	return at == said && at > ikeHeader
}
