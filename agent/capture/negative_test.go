package capture_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestNegatives: ordinary traffic of real programs is called nothing, whatever
// happens to its capture.
func TestNegatives(t *testing.T) {
	const folder = "../protocol/testdata/negative"
	text, err := os.ReadFile(filepath.Join(folder, "manifest.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		File  string `yaml:"file"`
		Made  string `yaml:"made"`
		Flows int    `yaml:"flows"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(&list); err != nil {
		t.Fatal(err)
	}
	d := newIdentifier()
	listed := map[string]bool{}
	for _, entry := range list {
		listed[entry.File] = true
		t.Run(entry.File, func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join(folder, entry.File+".pcap.gz"))
			if err != nil {
				t.Fatal(err)
			}
			frames, err := readFrames(entry.File, file)
			if err != nil || len(frames) == 0 {
				t.Fatalf("%d frames: %v", len(frames), err)
			}
			for id, labels := range d.replay(frames, false) {
				t.Errorf("%v is called %v", id, labels)
			}
			packets := d.sort(frames)
			for i, m := range mutations() {
				if m.same {
					continue
				}
				random := rand.New(rand.NewPCG(uint64(i), uint64(len(file))))
				for id, labels := range d.replay(m.change(random, packets), m.inner) {
					t.Errorf("%s: %v is called %v", m.name, id, labels)
				}
			}
		})
	}
	files, err := filepath.Glob(folder + "/*.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".pcap.gz"); !listed[name] {
			t.Errorf("%s is not in the manifest", file)
		}
	}
}
