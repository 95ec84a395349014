package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"sallyport/collector/stream"
	"sallyport/rules"
)

var insertRevision = statement{
	"INSERT INTO revisions (agent, id, revision, state, severity, flows, received, epoch, seq) VALUES ", tuple(9),
	" ON CONFLICT DO NOTHING RETURNING agent, id, revision",
}

var upsertEvidence = statement{
	"INSERT INTO evidence (agent, id, revision, sha256, packets, content, pcapng, received) VALUES ", tuple(8),
	` ON CONFLICT (agent, id) DO UPDATE SET revision = excluded.revision, sha256 = excluded.sha256, packets = excluded.packets,
 content = excluded.content, pcapng = excluded.pcapng, received = excluded.received
WHERE excluded.revision > evidence.revision`,
}

var (
	deleteEntities = statement{"DELETE FROM finding_entities WHERE key IN (", "?", ")"}
	insertEntities = statement{"INSERT INTO finding_entities (key, entity) VALUES ", tuple(2), " ON CONFLICT DO NOTHING"}
)

var countFindings = statement{
	"INSERT INTO agents (name, enrolled, finding_at, findings) VALUES ", tuple(4),
	" ON CONFLICT (name) DO UPDATE SET findings = agents.findings + excluded.findings, finding_at = excluded.finding_at",
}

// Save stores a batch in one transaction. A repeat changes nothing, so the
// stream may deliver an entry any number of times. Tables are taken one after
// the other, and rows in one order, so that two collectors cannot wait for each
// other.
func (s *Store) Save(ctx context.Context, batch []stream.Entry) error {
	sorted := slices.Clone(batch)
	slices.SortStableFunc(sorted, func(a, b stream.Entry) int { return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.ID, b.ID)) })
	return s.tx(ctx, func(tx *sql.Tx) error {
		b := saver{bulk: bulk{ctx, tx, s.dialect}, came: map[string][]int64{}, index: map[findingKey]indexed{}, now: micros(time.Now())}
		if err := b.findings(sorted); err != nil {
			return err
		}
		if err := b.addWords(); err != nil {
			return err
		}
		if err := b.count(); err != nil {
			return err
		}
		return b.sequences(batch)
	})
}

// saver stores a batch.
type saver struct {
	bulk
	now   int64                  // when the batch is stored
	came  map[string][]int64     // of new revisions, the time of receipt, by agent
	index map[findingKey]indexed // what goes into the full-text index at the end
}

// incoming is a finding of a batch.
type incoming struct {
	entry   *stream.Entry
	finding rules.Finding
}

func (x *incoming) key() findingKey { return findingKey{x.entry.Agent, x.finding.ID} }

// decode gives the findings among the entries.
func decode(entries []stream.Entry) ([]*incoming, error) {
	var list []*incoming
	for i := range entries {
		e := &entries[i]
		if e.Rejected != "" || e.Kind != "" {
			continue
		}
		x := &incoming{entry: e}
		if err := json.Unmarshal(e.Finding, &x.finding); err != nil {
			return nil, fmt.Errorf("decode finding %s of %s: %w", e.ID, e.Agent, err)
		}
		list = append(list, x)
	}
	return list, nil
}

func (b *saver) findings(entries []stream.Entry) error {
	all, err := decode(entries)
	if err != nil {
		return err
	}
	fresh, err := b.revisions(all)
	if err != nil {
		return fmt.Errorf("save revisions: %w", err)
	}
	for _, x := range fresh {
		if agent := x.entry.Agent; agent != stream.Collector { // which is no agent
			b.came[agent] = append(b.came[agent], micros(x.entry.Received))
		}
	}
	if err := b.evidence(fresh); err != nil {
		return fmt.Errorf("save evidence: %w", err)
	}
	saved, err := b.upsert(newest(fresh))
	if err != nil {
		return fmt.Errorf("save findings: %w", err)
	}
	if err := b.entities(saved); err != nil {
		return fmt.Errorf("save entities: %w", err)
	}
	return nil
}

// revisions notes what came, and gives what had not come before.
func (b *saver) revisions(list []*incoming) ([]*incoming, error) {
	type revision struct {
		findingKey
		number int64
	}
	rows := make([][]any, len(list))
	for i, x := range list {
		e, f := x.entry, &x.finding
		rows[i] = []any{e.Agent, f.ID, int64(f.Revision), f.State, Rank(f.Severity), int64(f.Count), micros(e.Received), e.Epoch, int64(e.Seq)}
	}
	added := map[revision]bool{}
	err := b.run(insertRevision, rows, func(rows *sql.Rows) error {
		var r revision
		err := rows.Scan(&r.agent, &r.id, &r.number)
		added[r] = true
		return err
	})
	var fresh []*incoming
	for _, x := range list {
		if r := (revision{x.key(), int64(x.finding.Revision)}); added[r] {
			delete(added, r) // the second of two is a repeat
			fresh = append(fresh, x)
		}
	}
	return fresh, err
}

// newest leaves the highest revision of each finding: a statement may change a
// row once.
func newest(list []*incoming) []*incoming {
	highest := map[findingKey]*incoming{}
	for _, x := range list {
		if y := highest[x.key()]; y == nil || x.finding.Revision > y.finding.Revision {
			highest[x.key()] = x
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(x *incoming) bool { return highest[x.key()] != x })
}

// evidence keeps the packets of the highest revision that has any.
func (b *saver) evidence(list []*incoming) error {
	bare := func(x *incoming) bool { return x.finding.Evidence == nil || len(x.finding.Evidence.PCAPNG) == 0 }
	var rows [][]any
	for _, x := range newest(slices.DeleteFunc(slices.Clone(list), bare)) {
		f, ev := &x.finding, x.finding.Evidence
		rows = append(rows, []any{x.entry.Agent, f.ID, int64(f.Revision), ev.SHA256, ev.Packets, number(ev.Content), ev.PCAPNG, micros(x.entry.Received)})
	}
	return b.run(upsertEvidence, rows, nil)
}

func (b *saver) entities(list []saved) error {
	var keys, rows [][]any
	for _, x := range list {
		keys = append(keys, []any{x.key})
		for _, m := range x.finding.Matches {
			rows = append(rows, []any{x.key, m.Entity.ID})
		}
	}
	if err := b.run(deleteEntities, keys, nil); err != nil {
		return err
	}
	return b.run(insertEntities, rows, nil)
}

// count notes what came of each agent.
func (b *saver) count() error {
	var rows [][]any
	for _, agent := range slices.Sorted(maps.Keys(b.came)) {
		times := b.came[agent]
		last := slices.Max(times)
		rows = append(rows, []any{agent, last, last, len(times)})
	}
	if err := b.run(countFindings, rows, nil); err != nil {
		return fmt.Errorf("count findings: %w", err)
	}
	return nil
}

// severities in order, least first; their place is what is stored.
var severities = [...]rules.Severity{rules.SeverityInfo, rules.SeverityLow, rules.SeverityMedium, rules.SeverityHigh, rules.SeverityCritical}

// Rank orders severities, from 1 for info to 5 for critical; 0 is unknown.
func Rank(s rules.Severity) int64 {
	for i, x := range severities {
		if x == s {
			return int64(i + 1)
		}
	}
	return 0
}
