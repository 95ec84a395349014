package protocol

import (
	"bytes"
	"encoding/binary"
)

// softEtherUDP is the detector of SoftEther's UDP: NAT traversal, VPN over DNS,
// UDP acceleration and R-UDP. Its TLS session is softEther's.
func softEtherUDP() Detector {
	return Detector{
		Name: "softether-udp",
		Doc: Doc{
			How:      "NAT traversal: a PACK that parses to its end and has an opcode, or the poll of one byte A and its answer IP=,PORT=. VPN over DNS: a DNSKEY question for eight hex digits with a packet in an OPT record, and its answer. UDP acceleration and R-UDP: each packet's initialisation vector stands in the ciphertext of the one before.",
			Confirms: "The same from both sides.",
			Limits:   "A single A without answer tells nothing. Acceleration in plain-text mode has no vectors.",
			Source:   "SoftEtherVPN, src/Mayaqua/Network.c, src/Mayaqua/Pack.c, src/Cedar/UdpAccel.c (Apache-2.0 sources, read for facts)",
		},
		UDP: func(first []byte, length int, _ bool) bool {
			return length == 1 && len(first) == 1 && first[0] == softEtherPoll ||
				softEtherPackStart(first) || bytes.HasPrefix(first, []byte(softEtherAnswer)) ||
				softEtherDNS(first) || len(first) >= softEtherShortest && dense(first[:softEtherShortest]) && !isSTUN(first)
		},
		Look: lookSoftEtherUDP,
	}
}

const (
	softEtherPoll     = 'A'   // of the server to the NAT-T service, every 24 to 28 s
	softEtherAnswer   = "IP=" // then address, ",PORT=", number
	softEtherPatience = 5     // datagrams of a side that may pass without a sign
)

// softEtherSide is what one side's datagrams show.
type softEtherSide struct {
	pack, poll, answer, dns, chain bool
	other                          int // datagrams that show nothing by themselves
}

func readSoftEther(s *Side) (e softEtherSide) {
	for i, b := range s.Datagrams {
		switch {
		case s.Lengths[i] == 1:
			e.poll = e.poll || b[0] == softEtherPoll
		case softEtherIP(b):
			e.answer = true
		case softEtherDNS(b):
			e.dns = true
		case softEtherPackStart(b):
			opcode, ok := softEtherPack(b)
			if ok && opcode != nil {
				e.pack = true
			} else {
				e.other++
			}
		default:
			e.other++
		}
	}
	if e.other > 1 {
		// While datagrams come, the last is enough; before giving up, all count.
		e.chain = softEtherLinked(s.Datagrams, 0) || e.other >= softEtherPatience && softEtherChain(s, 0)
	}
	return e
}

func (e *softEtherSide) sign() bool { return e.pack || e.dns || e.chain }

func lookSoftEtherUDP(f *Flow) Result {
	client, server := readSoftEther(&f.Client), readSoftEther(&f.Server)
	r := Result{Label: "softether", Product: "SoftEther VPN"}
	switch {
	case client.poll && server.answer, server.poll && client.answer:
		r.State, r.Evidence = Confirmed, "SoftEther NAT-T poll of one byte A, answered with IP and PORT"
	case client.sign() && server.sign():
		r.State, r.Evidence = Confirmed, softEtherEvidence(&client)
	case client.sign():
		r.State, r.Evidence = Suspected, softEtherEvidence(&client)
	case server.sign():
		r.State, r.Evidence = Suspected, softEtherEvidence(&server)
	case client.other >= softEtherPatience || server.other >= softEtherPatience:
		return Result{State: NotThis}
	default:
		return undecided(f)
	}
	return r
}

func softEtherEvidence(e *softEtherSide) string {
	switch {
	case e.pack:
		return "SoftEther NAT-T message: a PACK with an opcode"
	case e.dns:
		return "SoftEther VPN over DNS: DNSKEY messages for eight hex digits that carry packets"
	}
	return "SoftEther UDP: packets that announce the next one's initialisation vector in their ciphertext"
}

// softEtherIP says whether b is the answer to a poll, "IP=192.0.2.1,PORT=5".
func softEtherIP(b []byte) bool {
	if len(b) < 16 || len(b) > 64 || !bytes.HasPrefix(b, []byte(softEtherAnswer)) {
		return false
	}
	address, port, found := bytes.Cut(b[len(softEtherAnswer):], []byte(",PORT="))
	return found && len(address) >= 2 && visibleASCII(address) && digits(bytes.TrimRight(port, "\x00\r\n"))
}

// Fixed parts of VPN over DNS (Network.c, RUDPSendPacket): a question of type
// DNSKEY for one label; then in a query an OPT record for the root, in an answer
// a DNSKEY record with flags 0x0100, protocol 3 and algorithm 8, that fills the
// rest and holds an R-UDP packet.
const (
	dnsHeader      = 12
	softEtherLabel = 8
	softEtherAsk   = "\x00\x00\x30\x00\x01"                         // end of the name, DNSKEY, IN
	softEtherOPT   = "\x00\x00\x29\x10\x00\x00\x00\x80\x00"         // root, OPT, 4096 bytes, DO
	softEtherKey   = "\xc0\x0c\x00\x30\x00\x01"                     // the question's name, DNSKEY, IN
	softEtherDNS1  = "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x08" // query, one question, one additional
	softEtherDNS2  = "\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x08" // answer, one question, one answer
)

func softEtherDNS(b []byte) bool {
	const name = dnsHeader + 1
	const rest = name + softEtherLabel + len(softEtherAsk)
	if len(b) < rest+len(softEtherOPT)+4+softEtherSign {
		return false
	}
	for _, c := range b[name : name+softEtherLabel] {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	if string(b[name+softEtherLabel:rest]) != softEtherAsk {
		return false
	}
	at := rest
	switch string(b[2:name]) {
	case softEtherDNS1:
		if string(b[at:at+len(softEtherOPT)]) != softEtherOPT {
			return false
		}
		at += len(softEtherOPT)
	case softEtherDNS2:
		if string(b[at:at+len(softEtherKey)]) != softEtherKey {
			return false
		}
		at += len(softEtherKey) + 4 // time to live
	default:
		return false
	}
	return int(binary.BigEndian.Uint16(b[at:])) == len(b)-at-2 && dense(b[at+6:])
}
