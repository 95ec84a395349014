package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket/pcapgo"
	"github.com/klauspost/compress/zstd"
)

type read struct {
	At     string
	Link   Link
	Data   string
	Length int
}

// readAll gives what can be read and the error that ended it, nil at the end of
// a whole file.
func readAll(name string, file []byte) ([]read, error) {
	r, err := NewReader(name, bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var all []read
	var f Frame
	for {
		if err := r.Next(&f); err == io.EOF {
			return all, nil
		} else if err != nil {
			return all, err
		}
		all = append(all, read{f.Time.UTC().Format(time.RFC3339Nano), f.Link, string(f.Data), f.Length})
	}
}

func pcapFile(order binary.AppendByteOrder, magic uint32, link Link, part uint32, packets ...string) []byte {
	out := order.AppendUint32(nil, magic)
	out = order.AppendUint16(out, 2)
	out = order.AppendUint16(out, 4)
	out = append(out, make([]byte, 8)...)
	out = order.AppendUint32(out, 65535)
	out = order.AppendUint32(out, uint32(link))
	for _, p := range packets {
		out = order.AppendUint32(out, 100)
		out = order.AppendUint32(out, part)
		out = order.AppendUint32(out, uint32(len(p)))
		out = order.AppendUint32(out, uint32(len(p)+1))
		if magic == magicModified {
			out = append(out, make([]byte, 8)...)
		}
		out = append(out, p...)
	}
	return out
}

func TestReadPcap(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	micro := []read{{"1970-01-01T00:01:40.000000007Z", 1, "ab", 3}, {"1970-01-01T00:01:40.000000007Z", 1, "", 1}}
	tests := []struct {
		name string
		file []byte
		want []read
	}{
		{"little", pcapFile(le, magicMicro, 1, 7, "ab"), []read{{"1970-01-01T00:01:40.000007Z", 1, "ab", 3}}},
		{"big", pcapFile(be, magicMicro, 101, 7, "ab"), []read{{"1970-01-01T00:01:40.000007Z", 101, "ab", 3}}},
		{"nano", pcapFile(le, magicNano, 1, 7, "ab", ""), micro},
		{"big nano", pcapFile(be, magicNano, 1, 7, "ab", ""), micro},
		{"modified", pcapFile(le, magicModified, 113, 7, "ab"), []read{{"1970-01-01T00:01:40.000007Z", 113, "ab", 3}}},
		{"link type with FCS length", pcapFile(le, magicMicro, 0x50000001, 7, "ab"), []read{{"1970-01-01T00:01:40.000007Z", 1, "ab", 3}}},
		{"no packet", pcapFile(le, magicMicro, 1, 7), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readAll("x", tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReadCompressed(t *testing.T) {
	plain := pcapFile(binary.LittleEndian, magicMicro, 1, 7, "ab", "cd")
	want, _ := readAll("x", plain)
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(plain)
	w.Close()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"gzip": gz.Bytes(), "zstd": enc.EncodeAll(plain, nil)} {
		got, err := readAll(name, file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	var fe *FileError
	if _, err := readAll("cut.gz", gz.Bytes()[:gz.Len()-9]); !errors.As(err, &fe) || fe.Name != "cut.gz" {
		t.Errorf("a cut gzip file: %v", err)
	}
}

// block makes a pcapng block.
func block(order binary.AppendByteOrder, kind uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	size := uint32(12 + len(body))
	out := order.AppendUint32(order.AppendUint32(nil, kind), size)
	return order.AppendUint32(append(out, body...), size)
}

func section(order binary.AppendByteOrder) []byte {
	body := order.AppendUint32(nil, byteOrderMagic)
	body = order.AppendUint16(order.AppendUint16(body, 1), 0)
	return block(order, blockSection, order.AppendUint64(body, 1<<64-1))
}

func describe(order binary.AppendByteOrder, link Link, options ...byte) []byte {
	body := order.AppendUint32(order.AppendUint16(order.AppendUint16(nil, uint16(link)), 0), 0)
	return block(order, blockInterface, append(body, options...))
}

func enhanced(order binary.AppendByteOrder, id uint32, stamp uint64, data string) []byte {
	body := order.AppendUint32(nil, id)
	body = order.AppendUint32(order.AppendUint32(body, uint32(stamp>>32)), uint32(stamp))
	body = order.AppendUint32(order.AppendUint32(body, uint32(len(data))), uint32(len(data)))
	return block(order, blockEnhanced, append(body, data...))
}

func TestReadPcapng(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		nano := append(order.AppendUint16(order.AppendUint16(nil, optionResolution), 1), 9, 0, 0, 0, 0, 0, 0, 0)
		half := append(order.AppendUint16(order.AppendUint16(nil, optionResolution), 1), 0x81, 0, 0, 0)
		file := join(
			section(order), describe(order, 1), describe(order, 101, nano...), describe(order, 113, half...),
			block(order, 4, make([]byte, 40)), // names: passed
			enhanced(order, 0, 5_000_001, "ab"), enhanced(order, 1, 5_000_000_001, "cde"), enhanced(order, 2, 11, "f"),
			block(order, blockSimple, append(order.AppendUint32(nil, 2), 'g', 'h')),
			section(order), describe(order, 228), enhanced(order, 0, 0, "i"),
		)
		got, err := readAll("x", file)
		if err != nil {
			t.Fatal(err)
		}
		want := []read{
			{"1970-01-01T00:00:05.000001Z", 1, "ab", 2}, {"1970-01-01T00:00:05.000000001Z", 101, "cde", 3},
			{"1970-01-01T00:00:05.5Z", 113, "f", 1}, {"1970-01-01T00:00:05.5Z", 1, "gh", 2},
			{"1970-01-01T00:00:00Z", 228, "i", 1},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}

// TestReadTimeBeyondTheCalendar gives a packet whose time no document can hold
// the time of the one before.
func TestReadTimeBeyondTheCalendar(t *testing.T) {
	le := binary.LittleEndian
	seconds := append(le.AppendUint16(le.AppendUint16(nil, optionResolution), 1), 0, 0, 0, 0)
	before := append(le.AppendUint64(le.AppendUint16(le.AppendUint16(nil, optionOffset), 8), 1<<63), seconds...)
	got, err := readAll("x", join(section(le), describe(le, 1, seconds...), describe(le, 1, before...),
		enhanced(le, 0, 5, "a"), enhanced(le, 0, 1<<63-1, "b"), enhanced(le, 1, 0, "c"), enhanced(le, 0, lastSecond, "d")))
	if err != nil {
		t.Fatal(err)
	}
	want := []read{{"1970-01-01T00:00:05Z", 1, "a", 1}, {"1970-01-01T00:00:05Z", 1, "b", 1},
		{"1970-01-01T00:00:05Z", 1, "c", 1}, {"9999-12-31T23:59:59Z", 1, "d", 1}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestReadBroken(t *testing.T) {
	le := binary.LittleEndian
	whole := pcapFile(le, magicMicro, 1, 7, "ab", "cd")
	huge := pcapFile(le, magicMicro, 1, 7, "ab")
	le.PutUint32(huge[32:], 1<<30)
	ng := join(section(le), describe(le, 1), enhanced(le, 0, 0, "ab"))
	tests := []struct {
		name   string
		file   []byte
		frames int
		offset int64
		says   string
	}{
		{"empty", nil, 0, 0, "empty file"},
		{"garbage", []byte("this is no capture"), 0, 0, "neither pcap nor pcapng"},
		{"header cut", whole[:20], 0, 0, "truncated"},
		{"packet cut", whole[:len(whole)-1], 1, 42, "truncated"},
		{"record header cut", whole[:45], 1, 42, "truncated"},
		{"huge packet", huge, 0, 24, "garbage"},
		{"block cut", ng[:len(ng)-3], 0, int64(len(section(le)) + len(describe(le, 1))), "truncated"},
		{"no such interface", join(section(le), enhanced(le, 3, 0, "ab")), 0, int64(len(section(le))), "interface 3"},
		{"block of 3 bytes", join(section(le), []byte{9, 0, 0, 0, 3, 0, 0, 0}), 0, int64(len(section(le))), "garbage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readAll("some.pcap", tt.file)
			var fe *FileError
			if !errors.As(err, &fe) {
				t.Fatalf("no FileError: %v", err)
			}
			if len(got) != tt.frames || fe.Offset != tt.offset || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "some.pcap") {
				t.Errorf("%d frames, %v; want %d, offset %d, %q", len(got), err, tt.frames, tt.offset, tt.says)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	file := pcapFile(binary.LittleEndian, magicMicro, 1, 7, "ab")
	path := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, "-"} {
		r, err := Open(name, bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		var f Frame
		if err := r.Next(&f); err != nil || string(f.Data) != "ab" {
			t.Errorf("%s: %q, %v", name, f.Data, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Open(path+"x", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	packets := make([]string, 3000)
	for i := range packets {
		packets[i] = strings.Repeat("x", 700)
	}
	r, err := NewReader("x", bytes.NewReader(pcapFile(binary.LittleEndian, magicMicro, 1, 7, packets...)))
	if err != nil {
		t.Fatal(err)
	}
	var f Frame
	if err := r.Next(&f); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(2000, func() { r.Next(&f) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// TestWriter reads evidence back, with this package's reader and with gopacket's.
func TestWriter(t *testing.T) {
	var file bytes.Buffer
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	w, err := NewWriter(&file, Origin{
		Hardware: "amd64", System: "Linux 6.18", Application: "sallyport", Interface: "host", Link: LinkRaw,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, comment := range []string{"pid 7, /usr/bin/xfreerdp (exact)", ""} {
		if err := w.Packet(at, []byte("abcde"), 99, comment); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readAll("evidence", file.Bytes())
	want := read{"2026-01-02T03:04:05.000000006Z", LinkRaw, "abcde", 99}
	if d := cmp.Diff([]read{want, want}, got); d != "" || err != nil {
		t.Error(d, err)
	}
	ng, err := pcapgo.NewNgReader(bytes.NewReader(file.Bytes()), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	if s := ng.SectionInfo(); s.Hardware != "amd64" || s.OS != "Linux 6.18" || s.Application != "sallyport" {
		t.Errorf("section: %+v", s)
	}
	data, info, err := ng.ReadPacketData()
	if err != nil || string(data) != "abcde" || info.Length != 99 || !info.Timestamp.Equal(at) {
		t.Errorf("%q %+v %v", data, info, err)
	}
	if !bytes.Contains(file.Bytes(), []byte("pid 7, /usr/bin/xfreerdp (exact)")) {
		t.Error("the comment is missing")
	}
}

func FuzzReader(f *testing.F) {
	le, be := binary.LittleEndian, binary.BigEndian
	f.Add(pcapFile(le, magicMicro, 1, 7, "ab", "cd"))
	f.Add(pcapFile(be, magicNano, 1, 7, "ab"))
	f.Add(join(section(le), describe(le, 1), enhanced(le, 0, 0, "ab")))
	f.Add(join(section(be), describe(be, 1, 0, 9, 0, 1, 0x8a, 0, 0, 0), block(be, blockPacket, make([]byte, 24))))
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := readAll("x", file)
		total := 0
		for _, g := range got {
			total += len(g.Data)
		}
		if total > len(file) && !bytes.HasPrefix(file, []byte{0x1f, 0x8b}) && !bytes.HasPrefix(file, []byte{0x28, 0xb5}) {
			t.Errorf("%d bytes of packets from %d bytes, %v", total, len(file), err)
		}
	})
}
