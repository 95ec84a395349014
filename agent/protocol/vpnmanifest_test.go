package protocol

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/goccy/go-yaml"
)

// vpnEntry is an entry of testdata/manifest-vpn.yaml.
type vpnEntry struct {
	File   string `yaml:"file"`
	Made   string `yaml:"made"`
	Label  string `yaml:"label"`
	State  string `yaml:"state"`
	Alone  string `yaml:"alone"`
	Hidden string `yaml:"hidden"`
}

func vpnManifest(t testing.TB) []vpnEntry {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "manifest-vpn.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var entries []vpnEntry
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&entries); err != nil {
		t.Fatalf("read manifest: %v", err)
	}
	return entries
}

// TestVPNManifest identifies every captured flow with all detectors: whole, in
// small pieces, and one side alone, which must never be confirmed.
func TestVPNManifest(t *testing.T) {
	e := NewEngine(Detectors())
	listed := map[string]bool{}
	for _, entry := range vpnManifest(t) {
		listed[entry.File] = true
		t.Run(entry.File, func(t *testing.T) {
			if entry.Made == "" {
				t.Error("the manifest does not say how it was made")
			}
			f := loadVPNFlow(t, entry.File)
			r, facts := f.identify(e)
			if Category(r.Label) != entry.Label || vpnState(r) != entry.State {
				t.Errorf("whole: %s %s (%q), want %s %s", vpnState(r), r.Label, r.Evidence, entry.State, entry.Label)
			}
			if entry.Label != "none" && r.Evidence == "" {
				t.Error("no evidence")
			}
			if got := vpnHidden(facts); got != entry.Hidden {
				t.Errorf("hidden end %q, want %q", got, entry.Hidden)
			}
			if r, _ := f.one(false).identify(e); vpnState(r) != entry.Alone {
				t.Errorf("client alone: %s %s (%q), want %s", vpnState(r), r.Label, r.Evidence, entry.Alone)
			}
			if r, _ := f.one(true).identify(e); r.State == Confirmed && !Internal(r.Label) {
				t.Errorf("server alone: confirmed %s", r.Label)
			}
			if f.proto == 6 {
				testSegments(t, e, f, r)
			}
		})
	}
	files, err := os.ReadDir(filepath.Join("testdata", "vpn"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !listed[file.Name()] {
			t.Errorf("%s is not in manifest-vpn.yaml", file.Name())
		}
	}
}

func vpnHidden(facts *Facts) string {
	if facts.Hidden == nil {
		return ""
	}
	return facts.Hidden.By + " " + net.JoinHostPort(facts.Hidden.Host, strconv.Itoa(int(facts.Hidden.Port)))
}

// testSegments cuts a stream into segments of every small size: the answer must
// not depend on them.
func testSegments(t *testing.T, e *Engine, f vpnFlow, want Result) {
	t.Helper()
	for _, size := range []int{1, 2, 3, 7, 50, 1400} {
		cut := f
		cut.pieces = nil
		for _, p := range f.pieces {
			for b := p.bytes; len(b) > 0; {
				n := min(size, len(b))
				cut.pieces = append(cut.pieces, vpnPiece{p.server, b[:n]})
				b = b[n:]
			}
		}
		if r, _ := cut.identify(e); r != want {
			t.Errorf("segments of %d bytes: %+v, want %+v", size, r, want)
		}
	}
}
