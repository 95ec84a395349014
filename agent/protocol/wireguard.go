package protocol

import (
	"bytes"
	"encoding/binary"
)

// Messages of WireGuard (Donenfeld, "WireGuard: Next Generation Kernel Network
// Tunnel", 5.4.2 to 5.4.7): a type byte, three zero bytes, then fields in little
// endian. Lengths are whole UDP payloads.
const (
	wireguardInitiation = 1 // sender index, ephemeral, static, timestamp, mac1, mac2
	wireguardResponse   = 2 // sender index, receiver index, ephemeral, empty, mac1, mac2
	wireguardCookie     = 3 // receiver index, nonce, cookie
	wireguardData       = 4 // receiver index, counter, ciphertext

	wireguardInitiationSize = 148
	wireguardResponseSize   = 92
	wireguardCookieSize     = 64
	wireguardDataMinimum    = 32 // header 16 and the tag of an empty packet: a keepalive
	wireguardCiphertext     = 16
	wireguardMAC2           = 132 // in an initiation

	// Plaintext is padded to 16 bytes (5.4.6) but never beyond the device's MTU,
	// so that only a datagram as large as a packet can be may be uneven.
	wireguardPadding = 16
	wireguardUneven  = 512

	// A counter starts at 0 with each key, and a key ends after 2^60 messages
	// and, in practice, after three minutes (6.1): the upper bytes are zero.
	wireguardCounterLimit = 1 << 40
)

// wireguard is the detector. The port is not looked at.
func wireguard() Detector {
	return Detector{
		Name: "wireguard",
		Doc: Doc{
			How:      "Message type 1 to 4 and three zero bytes, the exact lengths of handshake messages, and indices and counters that fit.",
			Confirms: "The other side's message carries the index that this side announced; or, without a handshake, both sides keep their receiver index and count up.",
			Limits:   "One data packet alone tells nothing. Where the three bytes are not zero (clients of Cloudflare WARP put a mark of their own there) only a handshake with its answer shows. Variants with other type bytes (AmneziaWG) are not WireGuard on the wire. Tailscale's tunnels are WireGuard; where its disco messages are seen first the flow is tailscale.",
			Source:   "Donenfeld, WireGuard: Next Generation Kernel Network Tunnel, section 5.4",
		},
		UDP: func(first []byte, length int, _ bool) bool {
			return wireguardType(first, length) != 0 || wireguardMarked(first, length) == wireguardInitiation
		},
		Look: lookWireguard,
	}
}

// wireguardType is the message type of a datagram, 0 when it is none.
func wireguardType(b []byte, length int) byte {
	if len(b) < wireguardDataMinimum || b[1]|b[2]|b[3] != 0 {
		return 0
	}
	switch {
	case b[0] == wireguardInitiation && length == wireguardInitiationSize,
		b[0] == wireguardResponse && length == wireguardResponseSize,
		b[0] == wireguardCookie && length == wireguardCookieSize:
		return b[0]
	case b[0] == wireguardData && (length%wireguardPadding == 0 || length >= wireguardUneven) &&
		binary.LittleEndian.Uint64(b[8:]) < wireguardCounterLimit && dense(b[wireguardCiphertext:]):
		return b[0]
	}
	return 0
}

// wireguardSide is what one side's datagrams show.
type wireguardSide struct {
	initiation bool     // one that stands alone
	data       sequence // of the receiver index that lasts
	index      uint32
	restarts   int // times the receiver index changed
	strange    bool
}

func readWireguard(s *Side) (w wireguardSide) {
	for i, b := range s.Datagrams {
		switch wireguardType(b, s.Lengths[i]) {
		case wireguardInitiation:
			w.initiation = w.initiation || wireguardFresh(b)
		case wireguardResponse, wireguardCookie:
		case wireguardData:
			w.addData(b)
		default:
			if isSTUN(b) {
				continue // NetBird and others punch holes from the same port
			}
			w.strange = true
			return w
		}
	}
	return w
}

// wireguardFresh says whether an initiation is one by itself, as much of it as
// was captured: what is encrypted looks so, and mac2 is zero, as it is unless the
// peer has sent a cookie (5.4.4).
func wireguardFresh(b []byte) bool {
	end := min(len(b), wireguardMAC2)
	return dense(b[8:end]) && zero(b[end:])
}

func (w *wireguardSide) addData(b []byte) {
	index := binary.LittleEndian.Uint32(b[4:])
	if w.data.n > 0 && index != w.index {
		w.restarts++
		w.data = sequence{}
	}
	w.index = index
	if !w.data.add(binary.LittleEndian.Uint64(b[8:])) {
		w.strange = true
	}
}

// wireguardMarked is the type of a handshake message whose reserved bytes are in
// use, 0 when it is none.
func wireguardMarked(b []byte, length int) byte {
	switch {
	case len(b) < wireguardDataMinimum || b[1]|b[2]|b[3] == 0:
	case b[0] == wireguardInitiation && length == wireguardInitiationSize && wireguardFresh(b),
		b[0] == wireguardResponse && length == wireguardResponseSize:
		return b[0]
	}
	return 0
}

// lookWireguardMarked looks for a handshake with marks. Unknown: there is none.
func lookWireguardMarked(f *Flow) Result {
	r := Result{}
	for i, b := range f.Client.Datagrams {
		if wireguardMarked(b, f.Client.Lengths[i]) != wireguardInitiation {
			continue
		}
		r.State = NeedMore
		for j, a := range f.Server.Datagrams {
			if wireguardMarked(a, f.Server.Lengths[j]) == wireguardResponse && bytes.Equal(a[8:12], b[4:8]) {
				return Result{State: Confirmed, Label: "wireguard", Evidence: "handshake initiation and response with the index that it announced; the reserved bytes are in use, as Cloudflare WARP has it"}
			}
		}
	}
	if full(f) {
		r.State = Unknown
	}
	return r
}

func lookWireguard(f *Flow) Result {
	if r := lookWireguardMarked(f); r.State != Unknown {
		return r
	}
	client, server := readWireguard(&f.Client), readWireguard(&f.Server)
	if client.strange || server.strange {
		return Result{State: NotThis}
	}
	if wireguardAnswered(&f.Client, &f.Server) || wireguardAnswered(&f.Server, &f.Client) {
		return Result{State: Confirmed, Label: "wireguard", Evidence: "handshake message, and the other side used the index that it announced"}
	}
	if client.restarts+server.restarts > 1 {
		return Result{State: NotThis} // a handshake stands before each new index
	}
	if client.data.rising(2) && server.data.rising(2) && client.index != server.index {
		return Result{State: Confirmed, Label: "wireguard", Evidence: "transport data both ways, each with its own lasting receiver index and a rising counter (no handshake seen)"}
	}
	switch {
	case client.initiation || server.initiation:
		return Result{State: Suspected, Label: "wireguard", Evidence: "handshake initiation of 148 bytes without mac2, not answered"}
	case client.data.rising(3) || server.data.rising(3):
		return Result{State: Suspected, Label: "wireguard", Evidence: "transport data one way with a lasting receiver index and a rising counter"}
	}
	return undecided(f)
}

// wireguardAnswered says whether to has used an index that from announced in a
// handshake message.
func wireguardAnswered(from, to *Side) bool {
	for i, b := range from.Datagrams {
		t := wireguardType(b, from.Lengths[i])
		if t != wireguardInitiation && t != wireguardResponse {
			continue
		}
		sender := binary.LittleEndian.Uint32(b[4:])
		for j, r := range to.Datagrams {
			at := 4 // cookie reply, data
			switch wireguardType(r, to.Lengths[j]) {
			case wireguardResponse:
				at = 8
			case wireguardCookie, wireguardData:
			default:
				continue
			}
			if binary.LittleEndian.Uint32(r[at:]) == sender && sender != 0 {
				return true
			}
		}
	}
	return false
}
