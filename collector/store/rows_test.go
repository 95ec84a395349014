package store

import (
	"bytes"
	"fmt"
	"testing"

	"sallyport/collector/stream"
	"sallyport/rules"
)

// testBatch saves more than fits into one statement, of many agents, with
// repeats, older revisions and large evidence among it, once and again.
func testBatch(t *testing.T, s *Store) {
	const agents, each = 70, 3
	var batch []stream.Entry
	for i := range agents {
		agent := fmt.Sprintf("agent-%02d", i)
		for seq := uint64(1); seq <= each; seq++ {
			f := finding(agent, "f", seq)
			f.Matches = []rules.Match{{Entity: rules.EntityRef{ID: fmt.Sprint("entity-", seq)}}}
			if i == 0 {
				f.Evidence.PCAPNG = bytes.Repeat([]byte{byte(seq)}, maxRowBytes/2)
			}
			if seq == each {
				f.Evidence = nil
			}
			batch = append(batch, entry(seq, f), entry(seq, f))
		}
	}
	for range 2 {
		save(t, s, batch...)
		if c, err := s.Counts(t.Context()); err != nil || c != (Counts{agents, agents * each}) {
			t.Fatalf("counts %+v, %v", c, err)
		}
	}
	for seq, want := range map[int]int{each: agents, each - 1: 0} {
		page, err := s.Findings(t.Context(), Query{Entity: fmt.Sprint("entity-", seq), Limit: agents})
		if err != nil || len(page.Findings) != want {
			t.Errorf("%d findings match the entity of revision %d, not %d: %v", len(page.Findings), seq, want, err)
		}
	}
	for _, agent := range []string{"agent-00", "agent-69"} {
		if e, err := s.Evidence(t.Context(), agent, "f"); err != nil || e.Revision != each-1 {
			t.Errorf("evidence of %s is of revision %d, %v", agent, e.Revision, err)
		}
		list, err := s.Sequences(t.Context(), agent)
		if err != nil || len(list) != 1 || list[0].Received != each || len(list[0].Missing) != 0 {
			t.Errorf("sequences of %s: %+v, %v", agent, list, err)
		}
	}
	list, err := s.Agents(t.Context())
	if err != nil || len(list) != agents || list[0].Findings != each {
		t.Errorf("%d agents, %v", len(list), err)
	}
}

func TestStep(t *testing.T) {
	small, large := []any{"x", 1}, []any{make([]byte, maxRowBytes/3)}
	repeat := func(row []any, n int) (rows [][]any) {
		for range n {
			rows = append(rows, row)
		}
		return rows
	}
	for _, tt := range []struct {
		row        []any
		rows, want int
	}{{small, 500, 64}, {small, 63, 16}, {small, 5, 4}, {small, 1, 1}, {large, 64, 1}, {[]any{make([]byte, 2*maxRowBytes)}, 3, 1}} {
		if got := step(repeat(tt.row, tt.rows)); got != tt.want {
			t.Errorf("of %d rows of %d bytes go %d, not %d", tt.rows, rowBytes([][]any{tt.row}), got, tt.want)
		}
	}
}

// testRecord appends batches that overlap and repeat themselves.
func testRecord(t *testing.T, s *Store) {
	before, err := s.RecordSize(t.Context()) // the tests share PostgreSQL's record
	if err != nil {
		t.Fatal(err)
	}
	appended := func(from, to int) (n int) {
		t.Helper()
		var list []RecordEntry
		for i := from; i < to; i++ {
			e := RecordEntry{Kind: "finding", Agent: "a", ID: fmt.Sprint("f", i/2), Revision: uint64(1 + i%2), Received: start, Document: "{}"}
			list = append(list, e, e)
		}
		err := s.AppendRecord(t.Context(), func(r *RecordTx) error {
			fresh, err := r.New(list)
			for i := range fresh {
				r.Add(&fresh[i])
				r.AddHash(fresh[i].N, fresh[i].ID)
			}
			n = len(fresh)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, tt := range []struct{ from, to, want int }{{0, 100, 100}, {50, 170, 70}, {0, 170, 0}} {
		if got := appended(tt.from, tt.to); got != tt.want {
			t.Errorf("of entries %d to %d, %d were new, not %d", tt.from, tt.to, got, tt.want)
		}
	}
	list, err := s.Record(t.Context(), before, 1000)
	if err != nil || len(list) != 170 {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	for i, e := range list {
		if e.N != before+int64(i) || e.ID != fmt.Sprint("f", i/2) || e.Revision != uint64(1+i%2) {
			t.Fatalf("entry %d is %+v", i, e)
		}
	}
	if hashes, err := s.RecordHashes(t.Context(), []int64{before, before + 169}); err != nil || fmt.Sprint(hashes) != "[f0 f84]" {
		t.Errorf("hashes %v, %v", hashes, err)
	}
}
