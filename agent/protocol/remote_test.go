package protocol

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func remoteCases() []remoteCase {
	var all []remoteCase
	for _, some := range [][]remoteCase{rdpCases(), rdpudpCases(), shellCases(), productCases(), proxyCases(), variantCases()} {
		all = append(all, some...)
	}
	return all
}

// sent is one segment or datagram of one side.
type sent struct {
	client bool
	data   string
}

// order gives the case's segments, the sides in turn.
func (c *remoteCase) order() []sent {
	var all []sent
	for i := range max(len(c.client), len(c.server)) {
		if i < len(c.client) {
			all = append(all, sent{true, c.client[i]})
		}
		if i < len(c.server) {
			all = append(all, sent{false, c.server[i]})
		}
	}
	return all
}

// replayed is what the engine made of a flow.
type replayed struct {
	result Result
	facts  *Facts
}

// replay shows a flow to the engine piece by piece, as the flow table does.
func replay(list []Detector, proto uint8, pieces []sent) replayed {
	e, s := NewEngine(list), EngineState{}
	f := Flow{Proto: proto, ClientPort: 40000, ServerPort: 40001, Facts: &Facts{}}
	decided := false
	for _, p := range pieces {
		side := &f.Client
		if !p.client {
			side = &f.Server
		}
		side.add(proto, p.data)
		if !decided {
			_, _, decided = e.Look(&s, &f)
		}
	}
	f.Closed = true
	if !decided {
		e.Look(&s, &f)
	}
	return replayed{s.Best(), f.Facts}
}

func (s *Side) add(proto uint8, data string) {
	s.Count++
	if proto == 6 {
		s.Stream = append(s.Stream, data[:min(len(data), MaxStream-len(s.Stream))]...)
		return
	}
	if len(s.Datagrams) < MaxDatagrams {
		s.Datagrams = append(s.Datagrams, []byte(data[:min(len(data), MaxDatagram)]))
		s.Lengths = append(s.Lengths, len(data))
	}
}

func (c *remoteCase) proto() uint8 {
	if c.udp {
		return 17
	}
	return 6
}

func TestRemoteAccessCases(t *testing.T) {
	for _, c := range remoteCases() {
		t.Run(c.name, func(t *testing.T) {
			got := replay(Detectors(), c.proto(), c.order())
			r := got.result
			if r.Label != c.label || r.State != c.state || r.Product != c.product {
				t.Errorf("got %q state %d product %q (%s), want %q state %d product %q", r.Label, r.State, r.Product, r.Evidence, c.label, c.state, c.product)
			}
			if !strings.Contains(r.Evidence, c.evidence) {
				t.Errorf("evidence %q does not say %q", r.Evidence, c.evidence)
			}
			var hidden Hidden
			if got.facts.Hidden != nil {
				hidden = *got.facts.Hidden
			}
			if hidden != c.hidden {
				t.Errorf("hidden remote %+v, want %+v", hidden, c.hidden)
			}
		})
	}
}

// captured is an entry of testdata/remote/manifest.yaml.
type captured struct {
	File  string `yaml:"file"`
	Made  string `yaml:"made"`
	Label string `yaml:"label"`
	State string `yaml:"state"`
}

func remoteManifest(t testing.TB) []captured {
	t.Helper()
	text, err := os.ReadFile("testdata/remote/manifest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var list []captured
	if err := yaml.UnmarshalWithOptions(text, &list, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	return list
}

// loadCaptured reads a .flow file: "proto N", "ports C S", then "c" or "s" and
// the bytes of a segment or datagram in hexadecimal.
func loadCaptured(t testing.TB, path string) (proto uint8, pieces []sent) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if lines.Text() == "" || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		kind, value, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "c", "s":
			data, err := hex.DecodeString(value)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			pieces = append(pieces, sent{kind == "c", string(data)})
		case "proto":
			for _, d := range value {
				proto = proto*10 + uint8(d-'0')
			}
		}
	}
	return proto, pieces
}

func TestRemoteAccessCaptures(t *testing.T) {
	states := map[string]State{"suspected": Suspected, "confirmed": Confirmed}
	listed := map[string]bool{}
	for _, c := range remoteManifest(t) {
		listed[c.File] = true
		t.Run(c.File, func(t *testing.T) {
			proto, pieces := loadCaptured(t, "testdata/remote/"+c.File)
			r := replay(Detectors(), proto, pieces).result
			if Category(r.Label) != c.Label || r.State != states[c.State] {
				t.Errorf("got %q state %d (%s), want %q %s", r.Label, r.State, r.Evidence, c.Label, c.State)
			}
		})
	}
	files, err := filepath.Glob("testdata/remote/*.flow")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !listed[filepath.Base(f)] {
			t.Errorf("%s is not in the manifest", f)
		}
	}
}

// TestFactsOfCaptures checks what is read besides the label.
func TestFactsOfCaptures(t *testing.T) {
	proto, pieces := loadCaptured(t, "testdata/remote/rdp-xrdp-tls.flow")
	facts := replay(Detectors(), proto, pieces).facts
	if facts.TLS == nil || facts.TLS.SNI != "198.18.0.2" || !facts.TLS.ServerHello || facts.TLS.Version != 0x0304 {
		t.Errorf("TLS after the X.224 negotiation: %+v", facts.TLS)
	}
	if want := "a3afc2c46ba4a7d7fbe1cfb7a3031c2f"; facts.TLS != nil && facts.TLS.JA3 != want {
		t.Errorf("JA3 of xfreerdp %s, want %s as tshark gives it", facts.TLS.JA3, want)
	}
	proto, pieces = loadCaptured(t, "testdata/remote/ssh.flow")
	facts = replay(Detectors(), proto, pieces).facts
	if s := facts.SSH; s == nil || !strings.HasPrefix(s.ClientVersion, "SSH-2.0-OpenSSH_9.2p1") || s.HASSH == "" || s.HASSHServer == "" {
		t.Errorf("SSH facts: %+v", s)
	}
	proto, pieces = loadCaptured(t, "testdata/remote/softether-certificate.flow")
	facts = replay(Detectors(), proto, pieces).facts
	if facts.TLS == nil || len(facts.TLS.Certificates) != 1 {
		t.Errorf("certificates of SoftEther: %+v", facts.TLS)
	}
}

// TestOrdinaryFlowsAllocateNothing: a detector that looks at what is not its
// own must not cost memory, since most flows are nobody's.
func TestOrdinaryFlowsAllocateNothing(t *testing.T) {
	ordinary := map[string]remoteCase{
		"HTTP":    {client: one("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\n\r\n"), server: one("HTTP/1.1 200 OK\r\n\r\nhello")},
		"SMTP":    {client: one("EHLO a\r\nMAIL FROM:<a>\r\n"), server: one("220 b\r\n250 c\r\n")},
		"RTP":     {udp: true, client: one("\x80\x08" + strings.Repeat("\x55", 170)), server: one("\x80\x08" + strings.Repeat("\x55", 170))},
		"S7":      {client: one(unhex("03 00 00 16 11 e0 00 00 00 01 00 c1 02 01 00 c2 02 01 02 c0 01 0a")), server: one(unhex("03 00 00 16 11 d0 00 01 00 02 00 c0 01 0a c1 02 01 00 c2 02 01 02"))},
		"partial": {client: one(unhex("16 03 01 02 00 01 00 01 fc 03 03") + strings.Repeat("r", 100))},
	}
	e := NewEngine(Detectors())
	for name, c := range ordinary {
		t.Run(name, func(t *testing.T) {
			f := Flow{Proto: c.proto(), Facts: &Facts{}}
			for _, p := range c.order() {
				if p.client {
					f.Client.add(f.Proto, p.data)
				} else {
					f.Server.add(f.Proto, p.data)
				}
			}
			if n := testing.AllocsPerRun(100, func() {
				var s EngineState
				e.Look(&s, &f)
			}); n != 0 {
				t.Errorf("%v allocations a look", n)
			}
		})
	}
}
