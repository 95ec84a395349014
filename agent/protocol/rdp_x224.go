package protocol

import "bytes"

// readRequest reads a connection request, [MS-RDPBCGR] 2.2.1.1.
func readRequest(p *x224, rest []byte) rdpSide {
	if p.dst != 0 || len(p.user) != 0 {
		return rdpSide{proof: rdpAlien}
	}
	v, cookie := p.variable, ""
	known := starts(v, "Cookie: mstshash=") || starts(v, "Cookie: msts=") || starts(v, "tsv://")
	end := bytes.Index(v, []byte("\r\n"))
	switch {
	case starts(v, "Cookie: mstshash="):
		cookie = " with mstshash cookie"
	case known:
		cookie = " with routing token"
	case len(v) >= 8 && v[0] == negRequest && v[2] == 8 || end <= 0:
		end = -1 // no cookie: the bytes are the negotiation request's
	case printable(v[:end]):
		cookie = " with cookie or routing token"
	default:
		return rdpSide{proof: rdpAlien}
	}
	if end >= 0 {
		v = v[end+2:]
	}
	switch {
	case len(v) >= 8 && v[0] == negRequest && v[2] == 8 && v[3] == 0 && negotiationEnd(v[8:]):
		return rdpSide{proof: rdpCertain, evidence: requested(cookie, v[4])}
	case known:
		return rdpSide{proof: rdpCertain, evidence: "X.224 connection request" + cookie}
	case cookie != "":
		return rdpSide{proof: rdpBare, evidence: "X.224 connection request" + cookie}
	case len(v) > 0 || p.src != 0:
		return rdpSide{proof: rdpAlien} // parameters or references of another X.224 user, such as S7 or MMS
	}
	return readConnectInitial(p, rest)
}

// cutRequest reads a request of which the end is missing, for now or for good:
// RDP's cookie tells by itself.
func cutRequest(b []byte, want byte) rdpSide {
	const cookie = "Cookie: mstshash="
	if want != x224Request || len(b) < 11+len(cookie) || b[5] != x224Request || b[6]|b[7] != 0 || !starts(b[11:], cookie) {
		return rdpSide{}
	}
	return rdpSide{proof: rdpCertain, evidence: "X.224 connection request with mstshash cookie, of which the end is missing"}
}

// negotiationEnd says whether b, after the negotiation request, is empty or
// the correlation information of [MS-RDPBCGR] 2.2.1.1.2.
func negotiationEnd(b []byte) bool {
	return len(b) == 0 || len(b) >= 36 && b[0] == negCorrelation && b[2] == 36
}

// requested names the strongest security protocol asked for, [MS-RDPBCGR]
// 2.2.1.1.1.
func requested(cookie string, protocols byte) string {
	head := "X.224 connection request" + cookie + " asking for "
	switch {
	case protocols&0x10 != 0:
		return head + "RDS-AAD authentication"
	case protocols&0x08 != 0:
		return head + "NLA with early user authorization"
	case protocols&0x04 != 0:
		return head + "RDSTLS"
	case protocols&0x02 != 0:
		return head + "NLA"
	case protocols&0x01 != 0:
		return head + "TLS"
	}
	return head + "standard RDP security"
}

// chosen names the protocol that the server selected, [MS-RDPBCGR] 2.2.1.2.1.
func chosen(protocol int) string {
	switch protocol {
	case 0:
		return "server chose standard RDP security"
	case 1:
		return "server chose TLS"
	case 2:
		return "server chose NLA"
	case 4:
		return "server chose RDSTLS"
	case 8:
		return "server chose NLA with early user authorization"
	case 16:
		return "server chose RDS-AAD authentication"
	}
	return ""
}

// readConfirm reads a connection confirm, [MS-RDPBCGR] 2.2.1.2.
func readConfirm(p *x224, rest []byte) rdpSide {
	v := p.variable
	if len(p.user) != 0 || len(v) != 0 && (len(v) != 8 || v[2] != 8 || v[3] != 0) {
		return rdpSide{proof: rdpAlien}
	}
	if len(v) == 0 {
		return readConnectResponse(p, rest)
	}
	value := int(v[4]) | int(v[5])<<8 | int(v[6])<<16 | int(v[7])<<24
	switch v[0] {
	case negResponse:
		if words := chosen(value); words != "" {
			return rdpSide{proof: rdpCertain, evidence: words}
		}
	case negFailure: // failureCode 1 to 6, 2.2.1.2.2; 7 is named by later servers
		if value >= 1 && value <= 7 {
			return rdpSide{proof: rdpCertain, evidence: "server refused the security protocol asked for"}
		}
	}
	return rdpSide{proof: rdpAlien}
}

// Tags of T.125 section 7: BER [APPLICATION 101] and [APPLICATION 102].
const (
	mcsConnectInitial  = "\x7f\x65"
	mcsConnectResponse = "\x7f\x66"
)

// readConnectInitial looks behind a bare request for the MCS Connect Initial
// with RDP's client data: the H.221 key "Duca" ([MS-RDPBCGR] 2.2.1.3).
func readConnectInitial(p *x224, rest []byte) rdpSide {
	return readMCSConnect(rest, mcsConnectInitial, "Duca", rdpSide{
		proof: rdpBare, evidence: "X.224 connection request without references or negotiation, as old RDP clients send"})
}

// readConnectResponse looks for the server's "McDn" ([MS-RDPBCGR] 2.2.1.4).
// Windows sets the source reference 0x1234; a confirm like that answers RDP.
func readConnectResponse(p *x224, rest []byte) rdpSide {
	return readMCSConnect(rest, mcsConnectResponse, "McDn", rdpSide{
		proof: rdpBare, evidence: "X.224 connection confirm without negotiation"})
}

func readMCSConnect(rest []byte, tag, key string, bare rdpSide) rdpSide {
	next, _, whole, ok := parseX224(rest)
	switch {
	case len(rest) == 0:
		return bare
	case !ok:
		return rdpSide{proof: rdpAlien}
	case !whole && len(rest) > 9 && bytes.Contains(rest, []byte(key)) && string(rest[7:9]) == tag:
	case !whole:
		return bare
	case next.code != x224Data || !starts(next.user, tag):
		return rdpSide{proof: rdpAlien}
	case !bytes.Contains(next.user, []byte(key)):
		return rdpSide{proof: rdpAlien} // T.120 conferencing, not RDP
	}
	return rdpSide{proof: rdpCertain, evidence: bare.evidence + ", then MCS connect with RDP's " + key}
}

// Choices of the T.125 DomainMCSPDU that carry data, section 7 (PER: the high
// six bits of the first byte).
const (
	mcsSend       = 25 // Send Data Request, by the client
	mcsIndication = 26 // Send Data Indication, by the server
)

// mcsChoice peeks at the choice of the first data TPDU.
func mcsChoice(b []byte) byte {
	if x224Code(b) != x224Data || len(b) < 8 {
		return 0
	}
	return b[7] >> 2
}

// readMCSData reads X.224 data of a flow caught in the middle: T.125 domain
// PDUs with their channel and a priority of "high, begin and end" as RDP sends them
// (captures); or a whole connect PDU.
func readMCSData(user []byte, want byte) rdpSide {
	tag, key, choice := mcsConnectInitial, "Duca", byte(mcsSend)
	if want == x224Confirm {
		tag, key, choice = mcsConnectResponse, "McDn", mcsIndication
	}
	if starts(user, tag) && bytes.Contains(user, []byte(key)) {
		return rdpSide{proof: rdpCertain, evidence: "MCS connect with RDP's " + key}
	}
	if len(user) > 8 && user[0]>>2 == choice && user[0]&3 == 0 && user[5] == 0x70 && user[3] == 3 {
		return rdpSide{proof: rdpMCS, evidence: "T.125 MCS data on an RDP channel"}
	}
	return rdpSide{proof: rdpAlien}
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > 0x7e {
			return false
		}
	}
	return true
}
