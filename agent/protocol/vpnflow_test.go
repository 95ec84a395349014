package protocol

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vpnPiece is one datagram or TCP segment.
type vpnPiece struct {
	server bool
	bytes  []byte
}

// vpnFlow is a flow of a test, in the order of its packets.
type vpnFlow struct {
	proto          uint8
	client, server uint16
	pieces         []vpnPiece
}

// loadVPNFlow reads a flow: "proto N", "ports CLIENT SERVER", then a line for
// each datagram or segment, "c HEX" from the client or "s HEX" from the server.
func loadVPNFlow(t testing.TB, name string) vpnFlow {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "vpn", name))
	if err != nil {
		t.Fatal(err)
	}
	var f vpnFlow
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "proto":
			_, err = fmt.Sscan(rest, &f.proto)
		case "ports":
			_, err = fmt.Sscan(rest, &f.client, &f.server)
		case "c", "s":
			var b []byte
			b, err = hex.DecodeString(rest)
			f.pieces = append(f.pieces, vpnPiece{kind == "s", b})
		default:
			err = fmt.Errorf("unknown line")
		}
		if err != nil {
			t.Fatalf("%s:%d: %v", name, n+1, err)
		}
	}
	return f
}

// udp and tcp make flows of a test's own: pieces alternate as the letters of
// order say, c or s.
func udpFlow(clientPort, serverPort uint16, order string, pieces ...[]byte) vpnFlow {
	return makeFlow(17, clientPort, serverPort, order, pieces)
}

func tcpFlow(order string, pieces ...[]byte) vpnFlow {
	return makeFlow(6, 40000, 40001, order, pieces)
}

func makeFlow(proto uint8, clientPort, serverPort uint16, order string, pieces [][]byte) vpnFlow {
	f := vpnFlow{proto: proto, client: clientPort, server: serverPort}
	for i, b := range pieces {
		f.pieces = append(f.pieces, vpnPiece{order[i] == 's', b})
	}
	return f
}

// one keeps one side of a flow.
func (f vpnFlow) one(server bool) vpnFlow {
	var pieces []vpnPiece
	for _, p := range f.pieces {
		if p.server == server {
			pieces = append(pieces, p)
		}
	}
	f.pieces = pieces
	return f
}

// start is the flow before its first packet.
func (f vpnFlow) start() *Flow {
	return &Flow{Proto: f.proto, ClientPort: f.client, ServerPort: f.server, Facts: &Facts{}}
}

// add gives the flow its next packet.
func (p vpnPiece) add(f *Flow) {
	side := &f.Client
	if p.server {
		side = &f.Server
	}
	side.Count++
	if f.Proto == 6 {
		side.Stream = append(side.Stream, p.bytes...)
		side.Stream = side.Stream[:min(len(side.Stream), MaxStream)]
		return
	}
	if len(side.Datagrams) < MaxDatagrams {
		side.Datagrams = append(side.Datagrams, p.bytes[:min(len(p.bytes), MaxDatagram)])
		side.Lengths = append(side.Lengths, len(p.bytes))
	}
}

// identify shows the flow to the engine packet by packet and then closes it.
func (f vpnFlow) identify(e *Engine) (Result, *Facts) {
	flow, state := f.start(), EngineState{}
	for _, p := range f.pieces {
		p.add(flow)
		if _, _, decided := e.Look(&state, flow); decided {
			return state.Best(), flow.Facts
		}
	}
	flow.Closed = true
	e.Look(&state, flow)
	return state.Best(), flow.Facts
}

// vpnState is a state as the manifest and the tables write it.
func vpnState(r Result) string {
	switch {
	case Internal(r.Label):
		return "none"
	case r.State == Confirmed:
		return "confirmed"
	case r.State == Suspected:
		return "suspected"
	}
	return "none"
}
