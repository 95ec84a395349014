package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// RecordEntry is one entry of the record. When its time has passed, Document and
// Salt go and Removed says when; Digest stays.
type RecordEntry struct {
	N        int64     `json:"n"` // its place, from 0
	Kind     string    `json:"kind"`
	Agent    string    `json:"agent"`
	ID       string    `json:"id"`
	Revision uint64    `json:"revision"`
	Received time.Time `json:"received"`
	Salt     string    `json:"salt"`   // hexadecimal
	Digest   string    `json:"digest"` // SHA-256 of salt and document, hexadecimal
	Document string    `json:"document"`
	Removed  time.Time `json:"removed,omitzero"`
}

// RecordTx is the record while one appends to it; nobody else does meanwhile.
type RecordTx struct {
	bulk
	Size int64

	entries, hashes [][]any          // stored at the end
	added           map[int64]string // hashes of this transaction
}

var (
	// knownEntries finds those that the record has.
	knownEntries = statement{
		"SELECT kind, agent, id, revision FROM record_entries WHERE (kind, agent, id, revision) IN (VALUES ",
		"(?, ?, ?, CAST(? AS BIGINT))", ")",
	}
	insertEntries = statement{"INSERT INTO record_entries (n, kind, agent, id, revision, received, salt, digest, document) VALUES ", tuple(9), ""}
	insertHashes  = statement{"INSERT INTO record_hashes (place, hash) VALUES ", tuple(2), ""}
)

// AppendRecord runs f in a transaction that holds the record's head.
func (s *Store) AppendRecord(ctx context.Context, f func(*RecordTx) error) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		r := &RecordTx{bulk: bulk{ctx, tx, s.dialect}, added: map[int64]string{}}
		if err := tx.QueryRowContext(ctx, "SELECT size FROM record_head WHERE one = 1"+s.dialect.lock).Scan(&r.Size); err != nil {
			return fmt.Errorf("read record's head: %w", err)
		}
		if err := f(r); err != nil {
			return err
		}
		if err := r.run(insertEntries, r.entries, nil); err != nil {
			return fmt.Errorf("append record: %w", err)
		}
		if err := r.run(insertHashes, r.hashes, nil); err != nil {
			return fmt.Errorf("append record's hashes: %w", err)
		}
		if _, err := tx.ExecContext(ctx, s.dialect.bind("UPDATE record_head SET size = ? WHERE one = 1"), r.Size); err != nil {
			return fmt.Errorf("move record's head: %w", err)
		}
		return nil
	})
}

// recordKey tells entries apart.
type recordKey struct {
	kind, agent, id string
	revision        int64
}

func (e *RecordEntry) key() recordKey { return recordKey{e.Kind, e.Agent, e.ID, int64(e.Revision)} }

// New gives those of the entries that the record does not have, each once.
func (r *RecordTx) New(list []RecordEntry) ([]RecordEntry, error) {
	rows := make([][]any, len(list))
	for i := range list {
		k := list[i].key()
		rows[i] = []any{k.kind, k.agent, k.id, k.revision}
	}
	known := map[recordKey]bool{}
	err := r.run(knownEntries, rows, func(rows *sql.Rows) error {
		var k recordKey
		err := rows.Scan(&k.kind, &k.agent, &k.id, &k.revision)
		known[k] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look entries up in the record: %w", err)
	}
	var fresh []RecordEntry
	for i := range list {
		if k := list[i].key(); !known[k] {
			known[k] = true
			fresh = append(fresh, list[i])
		}
	}
	return fresh, nil
}

// Add puts an entry that New gave at the record's end.
func (r *RecordTx) Add(e *RecordEntry) {
	e.N = r.Size
	r.Size++
	r.entries = append(r.entries, []any{e.N, e.Kind, e.Agent, e.ID, int64(e.Revision), micros(e.Received), e.Salt, e.Digest, e.Document})
}

// AddHash keeps a hash of the tree.
func (r *RecordTx) AddHash(place int64, hash string) {
	r.hashes = append(r.hashes, []any{place, hash})
	r.added[place] = hash
}

// Hashes reads hashes of the tree, those that were just added among them.
func (r *RecordTx) Hashes(places []int64) ([]string, error) {
	list := make([]string, len(places))
	var ask []int64
	for i, p := range places {
		if list[i] = r.added[p]; list[i] == "" {
			ask = append(ask, p)
		}
	}
	kept, err := r.kept(ask)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i] == "" {
			list[i], kept = kept[0], kept[1:]
		}
	}
	return list, nil
}

func (r *RecordTx) kept(places []int64) ([]string, error) {
	return recordHashes(places, func(query string, args []any) (*sql.Rows, error) {
		return r.tx.QueryContext(r.ctx, r.dialect.bind(query), args...)
	})
}

// RecordHashes reads hashes of the record's tree.
func (s *Store) RecordHashes(ctx context.Context, places []int64) ([]string, error) {
	return recordHashes(places, func(query string, args []any) (*sql.Rows, error) {
		return s.read.QueryContext(ctx, s.dialect.bind(query), args...)
	})
}

func recordHashes(places []int64, ask func(string, []any) (*sql.Rows, error)) ([]string, error) {
	if len(places) == 0 {
		return nil, nil
	}
	args := make([]any, len(places))
	for i, p := range places {
		args[i] = p
	}
	rows, err := ask("SELECT place, hash FROM record_hashes WHERE place IN (?"+strings.Repeat(", ?", len(places)-1)+")", args)
	if err != nil {
		return nil, fmt.Errorf("read record's hashes: %w", err)
	}
	defer rows.Close()
	found := map[int64]string{}
	for rows.Next() {
		var place int64
		var hash string
		if err := rows.Scan(&place, &hash); err != nil {
			return nil, fmt.Errorf("read record's hashes: %w", err)
		}
		found[place] = hash
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read record's hashes: %w", err)
	}
	list := make([]string, len(places))
	for i, p := range places {
		var ok bool
		if list[i], ok = found[p]; !ok {
			return nil, fmt.Errorf("read record's hashes: %d of the tree is missing", p)
		}
	}
	return list, nil
}

// EachRecordHash calls f for every hash of the tree in its order.
func (s *Store) EachRecordHash(ctx context.Context, after int64, limit int, f func(place int64, hash string) error) error {
	err := s.each(ctx, "SELECT place, hash FROM record_hashes WHERE place > ? ORDER BY place LIMIT ?", []any{after, limit}, func(rows *sql.Rows) error {
		var place int64
		var hash string
		if err := rows.Scan(&place, &hash); err != nil {
			return err
		}
		return f(place, hash)
	})
	if err != nil {
		return fmt.Errorf("read record's hashes: %w", err)
	}
	return nil
}

// RecordSize is how many entries the record has.
func (s *Store) RecordSize(ctx context.Context) (int64, error) {
	var n int64
	if err := s.read.QueryRowContext(ctx, "SELECT size FROM record_head WHERE one = 1").Scan(&n); err != nil {
		return 0, fmt.Errorf("read record's head: %w", err)
	}
	return n, nil
}

const recordColumns = "n, kind, agent, id, revision, received, salt, digest, document, removed"

// Record lists entries from place n on.
func (s *Store) Record(ctx context.Context, n int64, limit int) ([]RecordEntry, error) {
	return s.record(ctx, "n >= ? ORDER BY n LIMIT ?", n, limit)
}

// RecordOf lists the entries of one kind about one id, the earliest first.
func (s *Store) RecordOf(ctx context.Context, kind, agent, id string) ([]RecordEntry, error) {
	return s.record(ctx, "kind = ? AND agent = ? AND id = ? ORDER BY n", kind, agent, id)
}

// RecordOfKind lists the entries of one kind received in a time, the earliest
// first; a zero end is open.
func (s *Store) RecordOfKind(ctx context.Context, kind string, from, to time.Time) ([]RecordEntry, error) {
	if to.IsZero() {
		return s.record(ctx, "kind = ? AND received >= ? ORDER BY n", kind, micros(from))
	}
	return s.record(ctx, "kind = ? AND received >= ? AND received < ? ORDER BY n", kind, micros(from), micros(to))
}

// RecordEntry reads one entry.
func (s *Store) RecordEntry(ctx context.Context, kind, agent, id string, revision uint64) (RecordEntry, error) {
	list, err := s.record(ctx, "kind = ? AND agent = ? AND id = ? AND revision = ?", kind, agent, id, int64(revision))
	if err != nil {
		return RecordEntry{}, err
	}
	if len(list) == 0 {
		return RecordEntry{}, fmt.Errorf("record of %s %s: %w", kind, id, ErrNotFound)
	}
	return list[0], nil
}

func (s *Store) record(ctx context.Context, where string, args ...any) ([]RecordEntry, error) {
	var list []RecordEntry
	err := s.each(ctx, "SELECT "+recordColumns+" FROM record_entries WHERE "+where, args, func(rows *sql.Rows) error {
		var e RecordEntry
		var received, removed int64
		if err := rows.Scan(&e.N, &e.Kind, &e.Agent, &e.ID, &e.Revision, &received, &e.Salt, &e.Digest, &e.Document, &removed); err != nil {
			return err
		}
		e.Received, e.Removed = fromMicros(received), fromMicros(removed)
		list = append(list, e)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	return list, nil
}

// Checkpoint is the record's size and root at a time, signed.
type Checkpoint struct {
	Size   int64     `json:"size"`
	Signer string    `json:"signer"` // the key's verifier form
	At     time.Time `json:"at"`
	Note   string    `json:"note"`
}

// AddCheckpoint keeps a checkpoint.
func (s *Store) AddCheckpoint(ctx context.Context, c Checkpoint) error {
	_, err := s.exec(ctx, "INSERT INTO record_checkpoints (size, signer, at, note) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", c.Size, c.Signer, micros(c.At), c.Note)
	if err != nil {
		return fmt.Errorf("keep checkpoint: %w", err)
	}
	return nil
}

// Checkpoints lists all checkpoints, the smallest first.
func (s *Store) Checkpoints(ctx context.Context) ([]Checkpoint, error) {
	return s.checkpoints(ctx, "size")
}

// LastCheckpoint is the one of most entries.
func (s *Store) LastCheckpoint(ctx context.Context) (Checkpoint, error) {
	list, err := s.checkpoints(ctx, "size DESC LIMIT 1")
	if err != nil {
		return Checkpoint{}, err
	}
	if len(list) == 0 {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w", ErrNotFound)
	}
	return list[0], nil
}

func (s *Store) checkpoints(ctx context.Context, order string) ([]Checkpoint, error) {
	var list []Checkpoint
	err := s.each(ctx, "SELECT size, signer, at, note FROM record_checkpoints ORDER BY "+order, nil, func(rows *sql.Rows) error {
		var c Checkpoint
		var at int64
		if err := rows.Scan(&c.Size, &c.Signer, &at, &c.Note); err != nil {
			return err
		}
		c.At = fromMicros(at)
		list = append(list, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	return list, nil
}

// Coverage reads the open stretch of each agent, as it was saved, by name.
func (s *Store) Coverage(ctx context.Context) (map[string]string, error) {
	open := map[string]string{}
	err := s.each(ctx, "SELECT agent, document FROM coverage", nil, func(rows *sql.Rows) error {
		var agent, document string
		if err := rows.Scan(&agent, &document); err != nil {
			return err
		}
		open[agent] = document
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read coverage: %w", err)
	}
	return open, nil
}

// CoverageOf reads the open stretch of one agent; empty where there is none.
func (s *Store) CoverageOf(ctx context.Context, agent string) (string, error) {
	var document string
	err := s.read.QueryRowContext(ctx, s.dialect.bind("SELECT document FROM coverage WHERE agent = ?"), agent).Scan(&document)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read coverage: %w", err)
	}
	return document, nil
}

// SaveCoverage keeps the open stretch of an agent.
func (s *Store) SaveCoverage(ctx context.Context, agent, document string) error {
	_, err := s.exec(ctx, "INSERT INTO coverage (agent, document) VALUES (?, ?) ON CONFLICT (agent) DO UPDATE SET document = excluded.document", agent, document)
	if err != nil {
		return fmt.Errorf("save coverage: %w", err)
	}
	return nil
}

// CountRemoved counts entries of a kind, received in a time, whose documents went
// with age.
func (s *Store) CountRemoved(ctx context.Context, kind string, from, to time.Time) (int, error) {
	var n int
	err := s.read.QueryRowContext(ctx, s.dialect.bind("SELECT COUNT(*) FROM record_entries WHERE kind = ? AND received >= ? AND received < ? AND removed > 0"),
		kind, micros(from), micros(to)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count record: %w", err)
	}
	return n, nil
}
