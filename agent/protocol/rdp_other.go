package protocol

import "bytes"

// RDP_PRECONNECTION_PDU_V1 and _V2, [MS-RDPEPS] 2.2.1: little-endian size,
// flags 0, version, id, and in version 2 a counted UTF-16 string, with which a
// client of Hyper-V names the virtual machine.
const (
	preconnectionV1 = 16
	preconnectionV2 = 18
)

func preconnectionStarts(b []byte) bool {
	if len(b) < 12 {
		return false
	}
	n := int(b[0]) | int(b[1])<<8
	return n >= preconnectionV1 && b[2]|b[3] == 0 && b[4]|b[5]|b[6]|b[7] == 0 &&
		(b[8] == 1 && n == preconnectionV1 || b[8] == 2 && n >= preconnectionV2 && n%2 == 0) && b[9]|b[10]|b[11] == 0
}

// preconnectionBegins says whether a first piece of less than 12 bytes can be
// the start of the PDU.
func preconnectionBegins(b []byte) bool {
	for i, c := range b {
		if i >= 2 && i != 8 && c != 0 || i == 8 && c != 1 && c != 2 {
			return false
		}
	}
	return len(b) > 0 && b[0] >= preconnectionV1
}

// afterPreconnection skips the PDU.
func afterPreconnection(b []byte) (rest []byte, whole, ok bool) {
	n := int(b[0]) | int(b[1])<<8
	if b[8] == 2 && len(b) >= preconnectionV2 && preconnectionV2+2*(int(b[16])|int(b[17])<<8) > n {
		return nil, true, false
	}
	if len(b) < n {
		return nil, false, true
	}
	return b[n:], true, true
}

// lookPreconnected judges what comes after the PDU when it is TLS at once, as
// Hyper-V's console has it ([MS-RDPBCGR] 5.4.2.2, direct approach). Unknown:
// X.224 follows.
func lookPreconnected(client, server []byte) Result {
	answer := Result{State: Suspected, Label: "rdp", Product: "Hyper-V", Evidence: "Hyper-V preconnection PDU, then TLS"}
	switch {
	case begins(client, "\x03\x00"):
		return Result{}
	case len(client) == 0:
		answer.Evidence = "Hyper-V preconnection PDU"
	case !tlsStarts(client):
		return Result{State: NotThis}
	case len(server) > 2 && tlsStarts(server):
		answer.State = Confirmed
	}
	return answer
}

// gatewayStarts is the cheap test of RD Gateway: the methods of its HTTP
// transport ([MS-TSGU] 2.2.3.1) and of RPC over HTTP ([MS-RPCH] 2.1.2.1).
func gatewayStarts(b []byte) bool {
	return len(b) >= 9 && (begins(b, "RDG_OUT_DATA ") || begins(b, "RDG_IN_DATA ") || begins(b, "RPC_IN_DATA ") || begins(b, "RPC_OUT_DATA ")) ||
		starts(b, "GET /remoteDesktopGateway")
}

func lookGateway(f *Flow) Result {
	line, _, whole := bytes.Cut(f.Client.Stream, []byte("\r\n"))
	if !whole && !f.Closed {
		return Result{State: NeedMore}
	}
	if line[1] == 'P' && !bytes.Contains(line, []byte(":3388")) {
		return Result{State: NotThis} // Outlook and others use RPC over HTTP too; RD Gateway's endpoint is 3388
	}
	answer := Result{State: Suspected, Label: "rdp", Product: "RD Gateway", Evidence: "HTTP request of the RD Gateway transport"}
	if starts(f.Server.Stream, "HTTP/1.") {
		answer.State = Confirmed
		answer.Evidence += ", and the server's answer"
	}
	return answer
}
