package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"sallyport/collector/stream"
	"sallyport/rules"
)

// Audited is a stored finding and what is wrong with its row by itself: columns
// that its document does not bear out.
type Audited struct {
	Key       int64
	Agent, ID string
	Revision  uint64
	Received  time.Time
	Document  string
	Wrong     string
}

// AuditFindings reads findings in order after one of them, and checks each row
// against its document.
func (s *Store) AuditFindings(ctx context.Context, agent, id string, limit int) ([]Audited, error) {
	var list []Audited
	err := s.each(ctx, "SELECT "+rowColumns+", key FROM findings WHERE (agent, id) > (?, ?) ORDER BY agent, id LIMIT ?", []any{agent, id, limit}, func(rows *sql.Rows) error {
		var got row
		var key int64
		if err := rows.Scan(append(got.fields(), &key)...); err != nil {
			return err
		}
		a, err := audit(got, key)
		list = append(list, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("audit findings: %w", err)
	}
	for i := range list {
		if list[i].Wrong != "" {
			continue
		}
		if list[i].Wrong, err = s.auditEntities(ctx, list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// audit checks a row against its document.
func audit(got row, key int64) (Audited, error) {
	a := Audited{Key: key, Agent: got.agent, ID: got.id, Revision: uint64(got.revision), Received: fromMicros(got.received), Document: got.document}
	var f rules.Finding
	if err := json.Unmarshal([]byte(got.document), &f); err != nil {
		a.Wrong = "its document cannot be read"
		return a, nil
	}
	row, err := findingRow(&stream.Entry{Agent: got.agent, Received: a.Received, Finding: []byte(got.document)}, &f)
	if err != nil {
		return a, err
	}
	want := row.values()
	for i, x := range got.values() {
		if x != want[i] {
			a.Wrong = fmt.Sprintf("its columns do not say what its document says: %.80v is not %.80v", x, want[i])
			return a, nil
		}
	}
	if base := placeOf(got.last); key < base || key >= base+crowded {
		a.Wrong = "its place in the list is not that of its last flow"
	}
	return a, nil
}

// auditEntities checks the entities a finding is found by.
func (s *Store) auditEntities(ctx context.Context, a Audited) (string, error) {
	var f rules.Finding
	if err := json.Unmarshal([]byte(a.Document), &f); err != nil {
		return "", err
	}
	want, got := map[string]bool{}, map[string]bool{}
	for _, m := range f.Matches {
		want[m.Entity.ID] = true
	}
	err := s.each(ctx, "SELECT entity FROM finding_entities WHERE key = ?", []any{a.Key}, func(rows *sql.Rows) error {
		var entity string
		err := rows.Scan(&entity)
		got[entity] = true
		return err
	})
	if err != nil {
		return "", fmt.Errorf("audit entities: %w", err)
	}
	if !reflect.DeepEqual(want, got) {
		return "it is not found by the entities its document names", nil
	}
	return "", nil
}

// AuditedPackets is what the store has of a finding's packets.
type AuditedPackets struct {
	Agent, ID string
	Revision  uint64
	SHA256    string // of the bytes that are kept
	Claimed   string // what the agent said
}

// AuditEvidence digests the packets of findings, in order after one of them.
func (s *Store) AuditEvidence(ctx context.Context, agent, id string, limit int) ([]AuditedPackets, error) {
	var list []AuditedPackets
	err := s.each(ctx, "SELECT agent, id, revision, sha256, pcapng FROM evidence WHERE (agent, id) > (?, ?) ORDER BY agent, id LIMIT ?",
		[]any{agent, id, limit}, func(rows *sql.Rows) error {
			var p AuditedPackets
			var packets []byte
			if err := rows.Scan(&p.Agent, &p.ID, &p.Revision, &p.Claimed, &packets); err != nil {
				return err
			}
			sum := sha256.Sum256(packets)
			p.SHA256 = hex.EncodeToString(sum[:])
			list = append(list, p)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("audit packets: %w", err)
	}
	return list, nil
}

// AuditedRevision is a row of the revisions that came.
type AuditedRevision struct {
	Agent, ID       string
	Revision        uint64
	State           string
	Severity, Flows int64
	Received        time.Time
	Epoch           string
	Seq             uint64
}

// AuditRevision reads the row of one revision.
func (s *Store) AuditRevision(ctx context.Context, agent, id string, revision uint64) (AuditedRevision, error) {
	list, err := s.auditRevisions(ctx, "agent = ? AND id = ? AND revision = ?", agent, id, int64(revision))
	if err != nil {
		return AuditedRevision{}, err
	}
	if len(list) == 0 {
		return AuditedRevision{}, ErrNotFound
	}
	return list[0], nil
}

// AuditUnrecorded lists revisions that the store has and the record has not.
func (s *Store) AuditUnrecorded(ctx context.Context, limit int) ([]AuditedRevision, error) {
	return s.auditRevisions(ctx, `NOT EXISTS (SELECT 1 FROM record_entries r WHERE r.kind = 'finding' AND r.agent = v.agent AND r.id = v.id
AND r.revision = v.revision) ORDER BY received LIMIT ?`, limit)
}

func (s *Store) auditRevisions(ctx context.Context, where string, args ...any) ([]AuditedRevision, error) {
	var list []AuditedRevision
	err := s.each(ctx, "SELECT agent, id, revision, state, severity, flows, received, epoch, seq FROM revisions v WHERE "+where, args, func(rows *sql.Rows) error {
		var r AuditedRevision
		var received int64
		if err := rows.Scan(&r.Agent, &r.ID, &r.Revision, &r.State, &r.Severity, &r.Flows, &received, &r.Epoch, &r.Seq); err != nil {
			return err
		}
		r.Received = fromMicros(received)
		list = append(list, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("audit revisions: %w", err)
	}
	return list, nil
}
