package protocol

import "testing"

// BenchmarkVPNUnknown is the cost of a UDP flow of sixteen datagrams that none of
// these detectors knows: every cheap test on each, and the looks they cause.
func BenchmarkVPNUnknown(b *testing.B) {
	for name, make := range map[string]func(uint64) []byte{
		"ciphertext": func(i uint64) []byte { return noise(i, 1200) },
		"rtp":        func(i uint64) []byte { return rtp(uint16(i), 160) },
		"dns": func(i uint64) []byte {
			return join(be16(uint16(i)), be16(0x0100), be16(1), be64(0)[:6], text("\x07example\x03com\x00"), be32(0x00010001))
		},
	} {
		var flow vpnFlow
		flow = udpFlow(40000, 443, "cscscscscscscscs", make(1), make(2), make(3), make(4), make(5), make(6), make(7), make(8), make(9), make(10), make(11), make(12), make(13), make(14), make(15), make(16))
		e := NewEngine(vpnDetectors())
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f, s := flow.start(), EngineState{}
				for _, p := range flow.pieces {
					p.add(f)
					if _, _, decided := e.Look(&s, f); decided {
						break
					}
				}
			}
		})
	}
}
