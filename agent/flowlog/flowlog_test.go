package flowlog

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sallyport/rules"
)

func lines(t *testing.T, path string) []rules.Observation {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []rules.Observation
	s := bufio.NewScanner(f)
	for s.Scan() {
		var o rules.Observation
		if err := json.Unmarshal(s.Bytes(), &o); err != nil {
			t.Fatalf("line %d: %v", len(out)+1, err)
		}
		out = append(out, o)
	}
	return out
}

func TestEveryFlowOnceOverRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.jsonl")
	l, err := Open(Config{Path: path, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	o := rules.Observation{Query: string(make([]byte, 500))}
	const flows = 600
	for i := range flows {
		o.BytesOut = uint64(i)
		l.Write(&o)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all := append(lines(t, path+".1"), lines(t, path)...)
	if len(all) != flows || l.Dropped() != 0 {
		t.Fatalf("%d flows in the log, %d dropped, want %d and 0", len(all), l.Dropped(), flows)
	}
	for i, o := range all {
		if o.BytesOut != uint64(i) {
			t.Fatalf("flow %d is %d", i, o.BytesOut)
		}
	}
}

func TestAppendsToWhatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flows.jsonl")
	for range 2 {
		l, err := Open(Config{Path: path, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		l.Write(&rules.Observation{})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(lines(t, path)); n != 2 {
		t.Errorf("%d flows, want 2", n)
	}
}

func TestWithoutPathNothing(t *testing.T) {
	l, err := Open(DefaultConfig())
	if l != nil || err != nil {
		t.Fatalf("open: %v, %v", l, err)
	}
	l.Write(&rules.Observation{})
	if err := l.Close(); err != nil || l.Dropped() != 0 {
		t.Errorf("close: %v", err)
	}
}

// TestFolderThatGoesAndComesBack counts what cannot be written, and writes again
// once it can.
func TestFolderThatGoesAndComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "flows.jsonl")
	l, err := Open(Config{Path: path, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	o := rules.Observation{Query: string(make([]byte, 500))}
	for l.Dropped() < 2 { // the rotation fails, and so does opening
		l.Write(&o)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	before := l.Dropped()
	l.Write(&o)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(lines(t, path)); n != 1 || l.Dropped() != before {
		t.Errorf("%d flows in the log, %d dropped since, want 1 and 0", n, l.Dropped()-before)
	}
}

// TestFullDisk counts every line that the disk does not take.
func TestFullDisk(t *testing.T) {
	l, err := Open(Config{Path: "/dev/full", MaxBytes: 1 << 40}) // never rotated: it is everybody's
	if err != nil {
		t.Fatal(err)
	}
	const flows = 300
	o := rules.Observation{Query: string(make([]byte, 500))}
	for range flows {
		l.Write(&o)
	}
	l.Close() // what still waits cannot be written either
	if l.Dropped() != flows {
		t.Errorf("%d dropped, want %d", l.Dropped(), flows)
	}
}
