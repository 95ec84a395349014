package protocol

import "testing"

// BenchmarkRemoteAccess is the cost of one whole flow, shown piece by piece, to
// all detectors.
func BenchmarkRemoteAccess(b *testing.B) {
	e := NewEngine(Detectors())
	for _, name := range []string{"ssh", "vnc", "rdp-xrdp-tls", "ocserv-tls", "softether-tls13", "anyconnect-dtls"} {
		proto, pieces := loadCaptured(b, "testdata/remote/"+name+".flow")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, s := Flow{Proto: proto, Facts: &Facts{}}, EngineState{}
				for _, p := range pieces {
					side := &f.Client
					if !p.client {
						side = &f.Server
					}
					side.add(proto, p.data)
					if _, _, decided := e.Look(&s, &f); decided {
						break
					}
				}
			}
		})
	}
}
