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

// auditColumns are those that findingRow gives, in its order.
const auditColumns = `key, agent, id, revision, state, severity, test, retro, suppressed, host, rule, protocol,
 direction, outcome, remote, remote_port, executable, username, pod, first_seen, last_seen, received, words, document`

// AuditFindings reads findings by their keys and checks each row against its
// document.
func (s *Store) AuditFindings(ctx context.Context, after int64, limit int) ([]Audited, error) {
	var list []Audited
	err := s.each(ctx, "SELECT "+auditColumns+" FROM findings WHERE key > ? ORDER BY key LIMIT ?", []any{after, limit}, func(rows *sql.Rows) error {
		var key, revision, severity, test, retro, suppressed, port, first, last, received int64
		var agent, id, state, host, rule, protocol, direction, outcome, remote, executable, user, pod, words, document string
		if err := rows.Scan(&key, &agent, &id, &revision, &state, &severity, &test, &retro, &suppressed, &host, &rule, &protocol,
			&direction, &outcome, &remote, &port, &executable, &user, &pod, &first, &last, &received, &words, &document); err != nil {
			return err
		}
		a := Audited{Key: key, Agent: agent, ID: id, Revision: uint64(revision), Received: fromMicros(received), Document: document}
		var f rules.Finding
		if err := json.Unmarshal([]byte(document), &f); err != nil {
			a.Wrong = "its document cannot be read"
			list = append(list, a)
			return nil
		}
		want, err := findingRow(&stream.Entry{Agent: agent, Received: a.Received, Finding: []byte(document)}, &f)
		if err != nil {
			return err
		}
		got := []any{agent, id, revision, state, severity, test, retro, suppressed, host, rule, protocol,
			direction, outcome, remote, port, executable, user, pod, first, last, received, words, document}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				a.Wrong = fmt.Sprintf("its columns do not say what its document says: %.80v is not %.80v", got[i], want[i])
				break
			}
		}
		list = append(list, a)
		return nil
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
