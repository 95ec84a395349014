package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// blocks are the files of an embedded stream's entries.
func blocks(t *testing.T, state string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(state, "stream", "*", "*", "*", "*", "msgs", "*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s, %v", state, err)
	}
	return files
}

// TestDamagedEntryIsTold damages an entry in the stream's file: every other one
// arrives, and the exporter that did not get it is told of to the store.
func TestDamagedEntryIsTold(t *testing.T) {
	state := t.TempDir()
	s := open(t, testConfig(), state)
	const entries, damaged = 40, 25
	for i := range entries {
		e := entry("a", i)
		e.Finding = json.RawMessage(fmt.Sprintf(`"marker %03d"`, i))
		if err := s.Append(t.Context(), []Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	take(t, s, StoreConsumer, entries)
	take(t, s, "export-x", 10)
	s.Close()
	file := blocks(t, state)[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[bytes.Index(data, fmt.Appendf(nil, "marker %03d", damaged)):], "MARKER")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}

	s = open(t, testConfig(), state)
	var mu sync.Mutex
	var missed []Missed
	s.Missed = func(_ context.Context, m Missed) error {
		mu.Lock()
		defer mu.Unlock()
		missed = append(missed, m)
		return nil
	}
	if err := s.Append(t.Context(), []Entry{entry("a", entries)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got, want []uint64
	for i := 10; i <= entries; i++ {
		if i != damaged {
			want = append(want, uint64(i))
		}
	}
	err = s.Consume(ctx, Consumer{Name: "export-x", Batch: 7}, func(_ context.Context, batch []Entry) error {
		for _, e := range batch {
			got = append(got, e.Seq)
		}
		if len(got) >= len(want) {
			cancel()
		}
		return nil
	})
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%s, %v", diff, err)
	}
	if len(missed) != 1 || missed[0].Consumer != "export-x" || !missed[0].From.Before(missed[0].To) {
		t.Errorf("missed %+v", missed)
	}
	st, err := s.State(t.Context())
	if err != nil || st.Damaged != 1 {
		t.Errorf("state %+v, %v", st, err)
	}
	take(t, s, StoreConsumer, 1)
	if len(missed) != 1 {
		t.Errorf("the store had the entry already: %+v", missed)
	}
}
