package protocol

import "encoding/binary"

// Opcodes, the upper five bits of the first byte; the lower three are the key id
// (OpenVPN wire protocol, "Packet Types"; ssl_pkt.h).
const (
	openvpnClientV1   = 1
	openvpnServerV1   = 2
	openvpnSoftReset  = 3
	openvpnControl    = 4
	openvpnACK        = 5
	openvpnDataV1     = 6
	openvpnClientV2   = 7
	openvpnServerV2   = 8
	openvpnDataV2     = 9
	openvpnClientV3   = 10 // tls-crypt-v2
	openvpnControlWKC = 11 // tls-crypt-v2, resends the wrapped key
)

// Sizes of a control packet's fields.
const (
	openvpnSession  = 9         // opcode and session id
	openvpnReplay   = 8         // packet id and time, with tls-auth or tls-crypt
	openvpnCryptTag = 32        // HMAC-SHA256 of tls-crypt
	openvpnMaxACKs  = 8         // RELIABLE_ACK_SIZE
	openvpnPlain    = 14        // the shortest: opcode, session id, no ACKs, message id
	openvpnIDLimit  = 1 << 16   // a control channel sends a few hundred packets an hour
	openvpnEarlyNeg = 0x0f00    // upper half of a packet id that offers early negotiation (EARLY_NEG_START)
	openvpnEarlyDev = 0x0a01    // the same in development versions of 2.6 (measured)
	openvpnResends  = 64        // resets of a client that nobody answers, for hours
	openvpnApart    = 3600      // seconds between two packets' times: a server's first answer has a counter of its own
	openvpnOldest   = 978307200 // 2001-01-01, before the first release: no packet's time is earlier
	openvpnLargest  = 2048      // control packets stay below the link MTU, also over TCP

	openvpnCryptReset = openvpnSession + openvpnReplay + openvpnCryptTag + 5
)

// openvpnWrap is how control packets are protected: the size of tls-auth's
// digest, 0 for none, or openvpnCrypt.
type openvpnWrap int

const openvpnCrypt openvpnWrap = -1

// openvpnWraps are those to try: none, tls-auth with MD5, SHA-1, SHA-224,
// SHA-256, SHA-384 and SHA-512, and tls-crypt, of both versions.
var openvpnWraps = [...]openvpnWrap{0, 16, 20, 28, 32, 48, 64, openvpnCrypt}

// openvpnMessage is a control packet as read under one wrap.
type openvpnMessage struct {
	opcode          byte
	session, remote uint64 // remote: the other side's session id, sent with ACKs
	tls             bool   // its payload starts with a TLS record
	time            uint32 // with tls-auth and tls-crypt: when its sender's counter began
}

// openvpnOpcode is the opcode of a packet's first byte, 0 when it is none: hard
// resets have key id 0.
func openvpnOpcode(b byte) byte {
	op := b >> 3
	switch op {
	case openvpnClientV1, openvpnServerV1, openvpnClientV2, openvpnServerV2, openvpnClientV3, openvpnControlWKC:
		if b&7 != 0 {
			return 0
		}
	case openvpnSoftReset, openvpnControl, openvpnACK, openvpnDataV1, openvpnDataV2:
	default:
		return 0
	}
	return op
}

func openvpnReset(op byte) bool {
	switch op {
	case openvpnClientV1, openvpnServerV1, openvpnClientV2, openvpnServerV2, openvpnClientV3:
		return true
	}
	return false
}

// read takes a control packet apart under the wrap. length is its length on the
// wire; ok is false where a field does not fit.
func (w openvpnWrap) read(b []byte, length int) (m openvpnMessage, ok bool) {
	if len(b) < openvpnPlain {
		return m, false
	}
	m.opcode = openvpnOpcode(b[0])
	if m.opcode == 0 || m.opcode == openvpnDataV1 || m.opcode == openvpnDataV2 || !dense(b[1:openvpnSession]) {
		return m, false
	}
	m.session = binary.BigEndian.Uint64(b[1:])
	if w == openvpnCrypt {
		return m, readOpenVPNCrypt(&m, b, length)
	}
	if m.opcode == openvpnClientV3 || m.opcode == openvpnControlWKC {
		return m, false // tls-crypt-v2 only
	}
	at := openvpnSession
	if w > 0 {
		at += int(w)
		if len(b) < at+openvpnReplay || !dense(b[openvpnSession:at]) || !openvpnReplayID(b[at:]) {
			return m, false
		}
		m.time = binary.BigEndian.Uint32(b[at+4:])
		at += openvpnReplay
	}
	return m, readOpenVPNACKs(&m, b, at, length)
}

// openvpnReplayID checks the packet id and time that tls-auth and tls-crypt put
// in front: small and not zero, or the mark of early negotiation.
func openvpnReplayID(b []byte) bool {
	id, now := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	switch id >> 16 {
	case 0, openvpnEarlyNeg, openvpnEarlyDev:
		return id&0xffff != 0 && now >= openvpnOldest
	}
	return false
}

// openvpnFirst says whether a packet id is one of a session's first: a client's
// resets are numbered from 1, each time they are sent.
func openvpnFirst(b []byte) bool { return binary.BigEndian.Uint16(b[2:]) <= openvpnResends }

// readOpenVPNACKs reads the ACK array, and the message id of all but bare ACKs.
func readOpenVPNACKs(m *openvpnMessage, b []byte, at, length int) bool {
	if at >= len(b) {
		return false
	}
	acks := int(b[at])
	at++
	if acks > openvpnMaxACKs {
		return false
	}
	if acks > 0 {
		end := at + 4*acks
		if end+8 > len(b) || !dense(b[end:end+8]) {
			return false
		}
		for ; at < end; at += 4 {
			if binary.BigEndian.Uint32(b[at:]) >= openvpnIDLimit {
				return false
			}
		}
		m.remote = binary.BigEndian.Uint64(b[at:])
		at += 8
	}
	if m.opcode == openvpnACK {
		return acks > 0 && at == length
	}
	if at+4 > len(b) || binary.BigEndian.Uint32(b[at:]) >= openvpnIDLimit {
		return false
	}
	if openvpnReset(m.opcode) { // carries message 0 and no payload
		return binary.BigEndian.Uint32(b[at:]) == 0 && at+4 == length
	}
	m.tls = len(b) >= at+7 && b[at+4]-20 <= 3 && b[at+5] == 3 && b[at+6] <= 4 // RFC 8446 5.1
	return true
}

// readOpenVPNCrypt checks what tls-crypt leaves in the clear. Version 2 adds the
// client's wrapped key to the reset, its own length last (tls-crypt-v2.txt).
func readOpenVPNCrypt(m *openvpnMessage, b []byte, length int) bool {
	if len(b) < openvpnCryptReset || !openvpnReplayID(b[openvpnSession:]) ||
		!dense(b[openvpnSession+openvpnReplay:openvpnSession+openvpnReplay+openvpnCryptTag]) {
		return false
	}
	m.time = binary.BigEndian.Uint32(b[openvpnSession+4:])
	switch m.opcode {
	case openvpnClientV1, openvpnServerV1:
		return false // key method 1 is older than tls-crypt
	case openvpnClientV2:
		return length == openvpnCryptReset && openvpnFirst(b[openvpnSession:])
	case openvpnServerV2: // with one ACK and, in answer to version 2, early negotiation
		return length == openvpnCryptReset || length >= openvpnCryptReset+12 && length <= openvpnCryptReset+12+16
	case openvpnClientV3:
		return openvpnFirst(b[openvpnSession:]) && len(b) == length && int(binary.BigEndian.Uint16(b[length-2:])) == length-openvpnCryptReset
	}
	return true
}
