package protocol

import "encoding/binary"

// Fields of version 2 data: opcode and key id, a 24-bit peer id, then with AEAD
// a packet id of 32 bits or, since 2.7, an epoch of 16 and a counter of 48 bits;
// with CBC an HMAC and an IV, and blocks of 8 or 16 bytes ("P_DATA_V2";
// Linux drivers/net/ovpn).
const (
	openvpnPeer      = 4
	openvpnEpochs    = 64 // a key ends long before it has had more
	openvpnShortest  = 24
	openvpnBlock     = 8
	openvpnHMAC      = 16 // MD5, the shortest
	openvpnOddDigest = 4  // what MD5, SHA-256, -384 and -512 leave of a block
)

// openvpnData is what the data packets of a side show.
type openvpnData struct {
	head    uint32 // opcode, key id, peer id
	ids     sequence
	epoch   bool
	n, rest int // packets; what their lengths leave of a block
	aligned bool
	counted bool // the ids are a counter
}

// lookOpenVPNData weighs a flow that shows only version 2 data: opcode and peer
// id the same both ways, the rest ciphertext; behind them a packet id that rises,
// or whole cipher blocks.
func lookOpenVPNData(f *Flow, tcp bool) Result {
	client, clientOK := readOpenVPNData(&f.Client, tcp)
	server, serverOK := readOpenVPNData(&f.Server, tcp)
	if !clientOK || !serverOK {
		return Result{State: NotThis}
	}
	if client.n >= 3 && server.n >= 3 && client.head == server.head {
		switch {
		case client.counted && server.counted && client.ids.rising(3) && server.ids.rising(3) && client.ids.steady() && server.ids.steady():
			return Result{State: Suspected, Label: "openvpn", Evidence: "version 2 data packets both ways with one peer id and rising packet ids (no control packet seen)"}
		case client.aligned && server.aligned && client.rest == server.rest && openvpnLast(f, tcp):
			return Result{State: Suspected, Label: "openvpn", Evidence: "version 2 data packets both ways with one peer id, each of whole cipher blocks (no control packet seen)"}
		}
	}
	if openvpnLast(f, tcp) {
		return Result{State: NotThis}
	}
	return Result{State: NeedMore}
}

// openvpnLast says that no packet that would be weighed is still to come.
func openvpnLast(f *Flow, tcp bool) bool {
	return f.Closed || !tcp && full(f) || len(f.Client.Stream) >= MaxStream || len(f.Server.Stream) >= MaxStream
}

func readOpenVPNData(s *Side, tcp bool) (d openvpnData, ok bool) {
	d.aligned, d.counted = true, true
	c := openvpnCursor{side: s, tcp: tcp}
	for i := 0; i < openvpnRead; i++ {
		b, length, more := c.next()
		if !more {
			break
		}
		if len(b) < openvpnShortest || openvpnOpcode(b[0]) != openvpnDataV2 || b[1] != 0 || !dense(b[2*openvpnPeer:]) {
			return d, false
		}
		if d.add(b, length); d.head != binary.BigEndian.Uint32(b) || !d.counted && !d.aligned {
			return d, false
		}
	}
	return d, true
}

func (d *openvpnData) add(b []byte, length int) {
	if d.n == 0 {
		d.head, d.rest = binary.BigEndian.Uint32(b), length%openvpnBlock
		epoch := binary.BigEndian.Uint16(b[openvpnPeer:])
		d.epoch = epoch > 0 && epoch <= openvpnEpochs && b[6]|b[7] == 0
	}
	d.n++
	id := uint64(binary.BigEndian.Uint32(b[openvpnPeer:]))
	if d.epoch {
		id = binary.BigEndian.Uint64(b[openvpnPeer:])
	}
	d.counted = d.counted && d.ids.add(id)
	d.aligned = d.aligned && length >= openvpnPeer+openvpnHMAC+2*openvpnBlock &&
		length%openvpnBlock == d.rest && d.rest%openvpnOddDigest == 0
}
