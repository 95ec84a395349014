package capture_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sallyport/agent/capture"
)

// TestMutationsOfOwnFlows does the same to the flows of agent/protocol/testdata,
// put back into packets.
func TestMutationsOfOwnFlows(t *testing.T) {
	const folder = "../protocol/testdata"
	d := newIdentifier()
	results := make([]map[string]*tally, len(mutations()))
	for i := range results {
		results[i] = map[string]*tally{}
	}
	for sub, manifest := range map[string]string{"vpn": "manifest-vpn.yaml", "remote": "remote/manifest.yaml"} {
		text, err := os.ReadFile(filepath.Join(folder, manifest))
		if err != nil {
			t.Fatal(err)
		}
		var list []struct {
			File  string `yaml:"file"`
			Label string `yaml:"label"`
		}
		if err := yaml.Unmarshal(text, &list); err != nil {
			t.Fatal(err)
		}
		for _, entry := range list {
			frames, id := packetsOf(t, filepath.Join(folder, sub, entry.File))
			packets := d.sort(frames)
			whole := d.replay(frames, false)
			if entry.Label != "none" && len(whole[id]) == 0 {
				t.Errorf("%s is no longer %s in packets", entry.File, entry.Label)
			}
			for i, m := range mutations() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(len(entry.File))))
				got := d.replay(m.change(random, packets), m.inner)
				compare(t, m, entry.File, truth{id: {entry.Label}}, whole, got, results[i])
			}
		}
	}
	report(t, results)
}

// ends of the flows that are made.
var flowEnds = [2]netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("198.18.0.2")}

// packetsOf reads a .flow file (see agent/protocol, loadCaptured) and puts its
// pieces into IPv4 packets.
func packetsOf(t *testing.T, path string) ([]frame, flowID) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := flowWriter{ports: [2]uint16{40000, 40001}, seq: [2]uint32{1000, 5000}, at: time.Unix(1700000000, 0)}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		kind, value, _ := strings.Cut(lines.Text(), " ")
		switch kind {
		case "proto":
			fmt.Sscan(value, &w.proto)
		case "ports":
			fmt.Sscan(value, &w.ports[0], &w.ports[1])
		case "c", "s":
			data, err := hex.DecodeString(value)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			w.piece(strings.Index("cs", kind), data)
		}
	}
	if w.proto != 6 && w.proto != 17 {
		w.ports = [2]uint16{}
	}
	return w.frames, idOf(w.proto, netip.AddrPortFrom(flowEnds[0], w.ports[0]), netip.AddrPortFrom(flowEnds[1], w.ports[1]))
}

// flowWriter makes the packets of one flow.
type flowWriter struct {
	proto  uint8
	ports  [2]uint16
	seq    [2]uint32
	frames []frame
	at     time.Time
}

func (w *flowWriter) piece(from int, data []byte) {
	const segment, syn, ack, push = 1400, 2, 16, 8
	if w.proto != 6 {
		w.send(from, w.udp(from, data))
		return
	}
	if len(w.frames) == 0 {
		w.send(0, w.tcp(0, syn, nil))
		w.seq[0]++
		w.send(1, w.tcp(1, syn|ack, nil))
		w.seq[1]++
		w.send(0, w.tcp(0, ack, nil))
	}
	for len(data) > 0 {
		n := min(len(data), segment)
		w.send(from, w.tcp(from, ack|push, data[:n]))
		w.seq[from] += uint32(n)
		data = data[n:]
	}
}

func (w *flowWriter) udp(from int, data []byte) []byte {
	if w.proto != 17 {
		return data
	}
	b := binary.BigEndian.AppendUint16(nil, w.ports[from])
	b = binary.BigEndian.AppendUint16(b, w.ports[1-from])
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(data)))
	return append(append(b, 0, 0), data...)
}

func (w *flowWriter) tcp(from int, flags byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, w.ports[from])
	b = binary.BigEndian.AppendUint16(b, w.ports[1-from])
	b = binary.BigEndian.AppendUint32(b, w.seq[from])
	b = binary.BigEndian.AppendUint32(b, w.seq[1-from])
	return append(append(b, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0), data...)
}

func (w *flowWriter) send(from int, payload []byte) {
	head := outer(w.proto, len(payload))
	src, dst := flowEnds[from].As4(), flowEnds[1-from].As4()
	copy(head[12:], src[:])
	copy(head[16:], dst[:])
	ethernet, _ := hex.DecodeString("0200000000010200000000020800")
	data := append(append(ethernet, head...), payload...)
	w.at = w.at.Add(time.Millisecond)
	w.frames = append(w.frames, frame{capture.LinkEthernet, data, len(data), w.at})
}
