package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sallyport/collector/stream"
	"sallyport/rules"
)

const insertRevision = `INSERT INTO revisions (agent, id, revision, state, severity, flows, received, epoch, seq)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

const upsertEvidence = `INSERT INTO evidence (agent, id, revision, sha256, packets, content, pcapng, received)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (agent, id) DO UPDATE SET revision = excluded.revision, sha256 = excluded.sha256, packets = excluded.packets,
 content = excluded.content, pcapng = excluded.pcapng, received = excluded.received
WHERE excluded.revision > evidence.revision`

const countFindings = `INSERT INTO agents (name, enrolled, finding_at, findings) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET findings = agents.findings + excluded.findings, finding_at = excluded.finding_at`

// Save stores a batch in one transaction. A repeat changes nothing, so the
// stream may deliver an entry any number of times. Rows are taken in one order,
// so that two collectors cannot wait for each other.
func (s *Store) Save(ctx context.Context, batch []stream.Entry) error {
	sorted := slices.Clone(batch)
	slices.SortStableFunc(sorted, func(a, b stream.Entry) int { return cmp.Or(cmp.Compare(a.Agent, b.Agent), cmp.Compare(a.ID, b.ID)) })
	return s.tx(ctx, func(tx *sql.Tx) error {
		b := saver{ctx: ctx, tx: tx, dialect: s.dialect, statements: map[string]*sql.Stmt{}, came: map[string][]int64{}, index: map[findingKey]indexed{}, now: micros(time.Now())}
		for i := range sorted {
			if err := b.entry(&sorted[i]); err != nil {
				return err
			}
		}
		if err := b.addWords(); err != nil {
			return err
		}
		if err := b.count(); err != nil {
			return err
		}
		return s.saveSequences(ctx, tx, batch)
	})
}

// saver prepares each statement once a batch.
type saver struct {
	ctx        context.Context // of the batch; a saver does not outlive it
	tx         *sql.Tx
	dialect    dialect
	statements map[string]*sql.Stmt
	now        int64                  // when the batch is stored
	came       map[string][]int64     // of new revisions, the time of receipt, by agent
	index      map[findingKey]indexed // what goes into the full-text index at the end
}

func (b *saver) prepare(query string) (*sql.Stmt, error) {
	if st, ok := b.statements[query]; ok {
		return st, nil
	}
	st, err := b.tx.PrepareContext(b.ctx, b.dialect.bind(query))
	if err != nil {
		return nil, fmt.Errorf("prepare statement: %w", err)
	}
	b.statements[query] = st
	return st, nil
}

func (b *saver) exec(query string, args ...any) (int64, error) {
	st, err := b.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(b.ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (b *saver) entry(e *stream.Entry) error {
	if e.Rejected != "" || e.Kind != "" {
		return nil
	}
	var f rules.Finding
	if err := json.Unmarshal(e.Finding, &f); err != nil {
		return fmt.Errorf("decode finding %s of %s: %w", e.ID, e.Agent, err)
	}
	n, err := b.exec(insertRevision, e.Agent, f.ID, int64(f.Revision), f.State, Rank(f.Severity), int64(f.Count), micros(e.Received), e.Epoch, int64(e.Seq))
	if err != nil {
		return fmt.Errorf("save revision: %w", err)
	}
	if n == 0 {
		return nil
	}
	if err := b.finding(e, &f); err != nil {
		return fmt.Errorf("save finding: %w", err)
	}
	if e.Agent == stream.Collector {
		return nil // it is no agent
	}
	b.came[e.Agent] = append(b.came[e.Agent], micros(e.Received))
	return nil
}

// count notes what came of each agent.
func (b *saver) count() error {
	for _, agent := range slices.Sorted(maps.Keys(b.came)) {
		times := b.came[agent]
		last := slices.Max(times)
		if _, err := b.exec(countFindings, agent, last, last, len(times)); err != nil {
			return fmt.Errorf("count findings: %w", err)
		}
	}
	return nil
}

func (b *saver) finding(e *stream.Entry, f *rules.Finding) error {
	if ev := f.Evidence; ev != nil && len(ev.PCAPNG) > 0 {
		_, err := b.exec(upsertEvidence, e.Agent, f.ID, int64(f.Revision), ev.SHA256, ev.Packets, number(ev.Content), ev.PCAPNG, micros(e.Received))
		if err != nil {
			return fmt.Errorf("save evidence: %w", err)
		}
	}
	row, err := findingRow(e, f)
	if err != nil {
		return err
	}
	key, err := b.upsert(&row, words(f, &row))
	if errors.Is(err, sql.ErrNoRows) {
		return nil // an older revision than the one kept
	}
	if err != nil {
		return err
	}
	if _, err := b.exec("DELETE FROM finding_entities WHERE key = ?", key); err != nil {
		return err
	}
	for _, m := range f.Matches {
		if _, err := b.exec("INSERT INTO finding_entities (key, entity) VALUES (?, ?) ON CONFLICT DO NOTHING", key, m.Entity.ID); err != nil {
			return err
		}
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
