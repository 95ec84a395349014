package protocol

import (
	"context"
	cryptotls "crypto/tls"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestInitialKeys uses the vectors of RFC 9001 appendix A.1 and RFC 9369
// appendix A.1.
func TestInitialKeys(t *testing.T) {
	id := []byte(unhex("83 94 c8 f0 3e 51 57 08"))
	for _, c := range []struct {
		version uint32
		from    sender
		iv      string
	}{
		{1, sentByClient, "fa044b2f42a3fd3b46fb255c"},
		{1, sentByServer, "0ac1493ca1905853b0bba03e"},
		{0x6b3343cf, sentByClient, "91f73e2351d8fa91660e909f"},
	} {
		v, _ := quicVersionOf(c.version)
		if got := hex.EncodeToString(newInitialKeys(v, id, c.from).iv); got != c.iv {
			t.Errorf("version %#x %s: iv %s, want %s", c.version, c.from, got, c.iv)
		}
	}
}

func quicInt(n int) string { return string([]byte{byte(n>>8) | 0x40, byte(n)}) }

// sealInitial makes an Initial packet, padded with PADDING frames to size.
func sealInitial(t testing.TB, version uint32, from sender, original, dst, src string, number byte, frames string, size int) string {
	t.Helper()
	v, ok := quicVersionOf(version)
	if !ok {
		t.Fatal("unknown version")
	}
	k := newInitialKeys(v, []byte(original), from)
	first := 0xc0 | v.initial<<4 // one byte of packet number
	n := max(size, len(frames), 20)
	frames += strings.Repeat("\x00", n-len(frames))
	head := string([]byte{first, byte(version >> 24), byte(version >> 16), byte(version >> 8), byte(version), byte(len(dst))}) + dst +
		string([]byte{byte(len(src))}) + src + "\x00" + quicInt(1+n+16)
	nonce := append([]byte(nil), k.iv...)
	nonce[len(nonce)-1] ^= number
	sealed := k.aead.Seal(nil, nonce, []byte(frames), append([]byte(head), number))
	packet := append(append([]byte(head), number), sealed...)
	var mask [16]byte
	at := len(head)
	k.mask.Encrypt(mask[:], packet[at+4:at+20])
	packet[0] ^= mask[0] & 0x0f
	packet[at] ^= mask[1]
	return string(packet)
}

func cryptoFrame(offset int, data string) string {
	return "\x06" + quicInt(offset) + quicInt(len(data)) + data
}

// quicClientHello gives the handshake bytes of a QUIC client of crypto/tls.
func quicClientHello(t testing.TB, name string) string {
	t.Helper()
	c := cryptotls.QUICClient(&cryptotls.QUICConfig{TLSConfig: &cryptotls.Config{ServerName: name, NextProtos: []string{"h3"}, MinVersion: cryptotls.VersionTLS13}})
	c.SetTransportParameters([]byte{})
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for {
		switch e := c.NextEvent(); e.Kind {
		case cryptotls.QUICWriteData:
			return string(e.Data)
		case cryptotls.QUICNoEvent:
			t.Fatal("no ClientHello")
		}
	}
}

// TestQUICInitial: the ClientHello is cut into frames, shuffled, repeated, mixed
// with other frames and spread over datagrams, some of them coalesced.
func TestQUICInitial(t *testing.T) {
	message := quicClientHello(t, "secret.example")
	const original, client, server = "\x83\x94\xc8\xf0\x3e\x51\x57\x08", "client", "serverid"
	serverHello := "\x02\x00\x00\x2c\x03\x03" + strings.Repeat("s", 32) + "\x00\x13\x01\x00\x00\x06" + extensionBytes(43, "\x03\x04")
	for _, version := range []uint32{1, 0x6b3343cf, 0xff00001d} {
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, uint64(version)))
			frames := shuffledFrames(random, message)
			var pieces []sent
			number := byte(0)
			for len(frames) > 0 {
				n := 1 + random.IntN(len(frames))
				if len(pieces) == 3 {
					n = len(frames)
				}
				packet := sealInitial(t, version, sentByClient, original, original, client, number, "\x01"+strings.Join(frames[:n], "\x00"), 40)
				if number++; random.IntN(2) == 0 && len(frames) > n { // coalesce two packets
					packet += sealInitial(t, version, sentByClient, original, original, client, number, frames[n], 40)
					n, number = n+1, number+1
				}
				pieces, frames = append(pieces, sent{true, packet}), frames[n:]
			}
			pieces = append(pieces, sent{false, sealInitial(t, version, sentByServer, original, client, server, 0, cryptoFrame(0, serverHello), 40)})
			got := replay(Detectors(), 17, pieces)
			if f := got.facts.TLS; f == nil || f.SNI != "secret.example" || !f.QUIC || len(f.ALPN) != 1 || f.ALPN[0] != "h3" || !strings.HasPrefix(f.JA4, "q13d") {
				t.Fatalf("version %#x seed %d: %+v", version, seed, f)
			}
			if got.result.Label != "quic" || got.result.State != Confirmed || !got.facts.TLS.ServerHello {
				t.Fatalf("version %#x seed %d: %+v", version, seed, got.result)
			}
		}
	}
}

// shuffledFrames cuts message into CRYPTO frames, some of them overlapping.
func shuffledFrames(random *rand.Rand, message string) []string {
	var frames []string
	for at := 0; at < len(message); {
		n := min(1+random.IntN(120), len(message)-at)
		from := max(0, at-random.IntN(5))
		frames = append(frames, cryptoFrame(from, message[from:at+n]))
		at += n
	}
	random.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	return frames
}

// TestQUICRetry: after a Retry the keys come from the server's connection id.
func TestQUICRetry(t *testing.T) {
	message := quicClientHello(t, "retry.example")
	first := sealInitial(t, 1, sentByClient, "original", "original", "client", 0, cryptoFrame(0, message[:50]), 40)
	again := sealInitial(t, 1, sentByClient, "retried!", "retried!", "client", 1, cryptoFrame(0, message), 40)
	got := replay(Detectors(), 17, []sent{{true, first}, {true, again}})
	if got.facts.TLS == nil || got.facts.TLS.SNI != "retry.example" {
		t.Errorf("after Retry: %+v", got)
	}
}

// TestQUICNotInitial: what does not decrypt is not QUIC to us.
func TestQUICNotInitial(t *testing.T) {
	packet := []byte(sealInitial(t, 1, sentByClient, "original", "original", "client", 0, cryptoFrame(0, "hello"), 40))
	packet[len(packet)-1] ^= 1
	if got := replay(Detectors(), 17, []sent{{true, string(packet)}}).result; got.Label != "" {
		t.Errorf("a forged packet: %+v", got)
	}
}
