package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"sallyport/collector/store"
	"sallyport/rules"
)

// Verification is what Verify found.
type Verification struct {
	Entries     int64    `json:"entries"`
	Removed     int64    `json:"removed"` // entries whose documents went with age
	Root        string   `json:"root"`
	Checkpoints int      `json:"checkpoints"` // that agree
	Findings    int64    `json:"findings"`    // rows of the store that agree
	Packets     int64    `json:"packets"`     // of how many findings
	Decisions   int64    `json:"decisions"`
	Differences []string `json:"differences,omitempty"` // the first ones
}

// maxDifferences is how many differences Verify tells before it stops.
const maxDifferences = 20

// errEnough ends a verification that has found enough.
var errEnough = errors.New("enough differences")

// Verifying is what Verify is given.
type Verifying struct {
	Store *store.Store
	// Keys are the public keys whose checkpoints count.
	Keys []string
	// Notes are checkpoints kept elsewhere: the collector's file, and what the
	// exporters' receivers have.
	Notes []string
	// Keep is how long documents are kept: one that went earlier is a difference.
	// 0: for ever.
	Keep time.Duration
	// Wait is how long what is in the store and not yet in the record, or the
	// reverse, may take to come: both read the stream at their own pace.
	Wait time.Duration
}

// page is how many rows are read at once.
const page = 500

// verifier carries a verification on.
type verifier struct {
	Verifying
	out     Verification
	points  map[int64][]Point
	tree    []tlog.Hash // roots of the full subtrees, the largest first
	sizes   []int64     // theirs
	stored  hashes
	waiting []func(context.Context) (string, error) // looked at again, later
}

// Verify recomputes the record from its first entry and compares it with
// everything that is kept beside it.
func Verify(ctx context.Context, in Verifying) (Verification, error) {
	v := &verifier{Verifying: in, points: map[int64][]Point{}, stored: hashes{store: in.Store, last: -1}}
	for _, step := range []func(context.Context) error{v.checkpoints, v.entries, v.findings, v.packets, v.decisions, v.unrecorded, v.again} {
		err := step(ctx)
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return v.out, err
		}
	}
	return v.out, nil
}

func (v *verifier) differ(format string, args ...any) error {
	v.out.Differences = append(v.out.Differences, fmt.Sprintf(format, args...))
	if len(v.out.Differences) >= maxDifferences {
		return errEnough
	}
	return nil
}

// checkpoints opens all checkpoints there are.
func (v *verifier) checkpoints(ctx context.Context) error {
	known, err := verifiers(v.Keys)
	if err != nil {
		return err
	}
	kept, err := v.Store.Checkpoints(ctx)
	if err != nil {
		return err
	}
	type text struct{ where, note string }
	var texts []text
	for _, c := range kept {
		texts = append(texts, text{fmt.Sprintf("checkpoint of %d entries in the store", c.Size), c.Note})
	}
	for i, n := range v.Notes {
		texts = append(texts, text{fmt.Sprintf("checkpoint %d of those kept elsewhere", i+1), n})
	}
	for _, t := range texts {
		p, err := OpenCheckpoint(t.note, known)
		var unknown *note.UnverifiedNoteError
		switch {
		case errors.As(err, &unknown):
			err = v.differ("%s: signed by a key that is not known here; give another collector's public key with --key", t.where)
		case err != nil:
			err = v.differ("%s: %v", t.where, err)
		default:
			v.points[p.Size] = append(v.points[p.Size], p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func verifiers(keys []string) (note.Verifiers, error) {
	var known []note.Verifier
	for _, k := range keys {
		x, err := note.NewVerifier(strings.TrimSpace(k))
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		known = append(known, x)
	}
	return note.VerifierList(known...), nil
}

// entries walks the record and rebuilds its tree.
func (v *verifier) entries(ctx context.Context) error {
	size, err := v.Store.RecordSize(ctx)
	if err != nil {
		return err
	}
	if err := v.point(); err != nil { // an empty record may be signed, too
		return err
	}
	for v.out.Entries < size {
		list, err := v.Store.Record(ctx, v.out.Entries, page)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for i := range list {
			if v.out.Entries == size {
				break // came while this was running
			}
			if err := v.entry(ctx, &list[i]); err != nil {
				return err
			}
		}
	}
	v.out.Root = v.root().String()
	if v.out.Entries < size {
		if err := v.differ("the record says that it has %d entries, and has %d", size, v.out.Entries); err != nil {
			return err
		}
	}
	for n := range v.points {
		if n > v.out.Entries {
			if err := v.differ("a checkpoint was signed over %d entries, and the record has %d: its end is missing", n, v.out.Entries); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) entry(ctx context.Context, e *store.RecordEntry) error {
	if e.N != v.out.Entries {
		if err := v.differ("entry %d is missing: %d follows %d", v.out.Entries, e.N, v.out.Entries-1); err != nil {
			return err
		}
		return errEnough // from here on nothing can agree
	}
	if err := v.document(ctx, e); err != nil {
		return err
	}
	for _, h := range v.grow(leafHash(*e)) {
		same, err := v.stored.next(ctx, h)
		if err != nil {
			return err
		}
		if !same {
			if err := v.differ("entry %d (%s %s of %s): the tree's hashes that were kept are not its", e.N, e.Kind, e.ID, e.Agent); err != nil {
				return err
			}
		}
	}
	v.out.Entries++
	return v.point()
}

// document checks an entry's document, and what the store has of it.
func (v *verifier) document(ctx context.Context, e *store.RecordEntry) error {
	where := fmt.Sprintf("entry %d (%s %s of %s)", e.N, e.Kind, e.ID, e.Agent)
	if !e.Removed.IsZero() {
		v.out.Removed++
		if v.Keep == 0 || e.Removed.Before(e.Received.Add(v.Keep)) {
			return v.differ("%s: its document was removed on %s, before its time", where, e.Removed.Format(time.RFC3339))
		}
		return nil
	}
	if digest(e.Salt, e.Document) != e.Digest {
		return v.differ("%s: its document is not the one that was recorded", where)
	}
	var d Document
	if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
		return v.differ("%s: its document cannot be read", where)
	}
	if d.Kind != e.Kind || d.Agent != e.Agent || d.ID != e.ID || d.Revision != e.Revision || !d.Received.Equal(e.Received) {
		return v.differ("%s: its row is not what its document says", where)
	}
	var none int64
	switch e.Kind {
	case KindFinding:
		return v.look(ctx, &none, func(ctx context.Context) (string, error) { return v.revision(ctx, where, d) })
	case KindDecision:
		return v.look(ctx, &none, func(ctx context.Context) (string, error) { return v.decided(ctx, where, d) })
	}
	return nil
}

// decided compares an entry with the decision the store has.
func (v *verifier) decided(ctx context.Context, where string, d Document) (string, error) {
	list, err := v.Store.DecisionsOf(ctx, d.Agent, d.ID)
	if err != nil {
		return "", err
	}
	for _, x := range list {
		if x.Key == int64(d.Revision) {
			return "", nil // compared where decisions are
		}
	}
	return fmt.Sprintf("%s: decision %d is not in the store", where, d.Revision), nil
}

// triage compares a finding's triage with the last decision on it.
func (v *verifier) triage(ctx context.Context, a store.Audited) (string, error) {
	list, err := v.Store.DecisionsOf(ctx, a.Agent, a.ID)
	if err != nil {
		return "", err
	}
	last := store.Decision{State: store.TriageNew}
	if len(list) > 0 {
		last = list[0]
	}
	f, err := v.Store.Finding(ctx, a.Agent, a.ID)
	if err != nil {
		return "", err
	}
	if f.Triage != last.State || f.Assignee != last.Assignee || f.Decision != last.Decision {
		return fmt.Sprintf("finding %s of %s: its triage is not what was decided last", a.ID, a.Agent), nil
	}
	return "", nil
}

// revision compares an entry with the row of the revisions that came.
func (v *verifier) revision(ctx context.Context, where string, d Document) (string, error) {
	r, err := v.Store.AuditRevision(ctx, d.Agent, d.ID, d.Revision)
	if errors.Is(err, store.ErrNotFound) {
		return where + ": revision " + fmt.Sprint(d.Revision) + " is not in the store", nil
	}
	if err != nil {
		return "", err
	}
	var f rules.Finding
	if err := json.Unmarshal(d.Body, &f); err != nil {
		return where + ": its finding cannot be read", nil
	}
	if diff, err := v.kept(ctx, where, d); diff != "" || err != nil {
		return diff, err
	}
	if r.State != f.State || r.Severity != store.Rank(f.Severity) || r.Flows != int64(f.Count) || !r.Received.Equal(d.Received) || r.Epoch != d.Epoch || r.Seq != d.Seq {
		return where + ": the store's row of revision " + fmt.Sprint(d.Revision) + " says something else", nil
	}
	return "", nil
}

// kept says whether the store has the finding of an entry.
func (v *verifier) kept(ctx context.Context, where string, d Document) (string, error) {
	_, err := v.Store.Finding(ctx, d.Agent, d.ID)
	if errors.Is(err, store.ErrNotFound) {
		return where + ": finding " + d.ID + " of " + d.Agent + " is not in the store", nil
	}
	return "", err
}

// point compares the tree with the checkpoints of its size.
func (v *verifier) point() error {
	for _, p := range v.points[v.out.Entries] {
		if v.root() != p.Root {
			if err := v.differ("the first %d entries are not those that %s signed on %s", v.out.Entries, p.Key, p.At.Format(time.RFC3339)); err != nil {
				return err
			}
			continue
		}
		v.out.Checkpoints++
	}
	return nil
}

// findings compares the store's findings with the record.
func (v *verifier) findings(ctx context.Context) error {
	for after := int64(0); ; {
		list, err := v.Store.AuditFindings(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, a := range list {
			after = a.Key
			if a.Wrong != "" {
				if err := v.differ("finding %s of %s: %s", a.ID, a.Agent, a.Wrong); err != nil {
					return err
				}
				continue
			}
			if err := v.look(ctx, &v.out.Findings, func(ctx context.Context) (string, error) { return v.finding(ctx, a) }); err != nil {
				return err
			}
		}
	}
}

func (v *verifier) finding(ctx context.Context, a store.Audited) (string, error) {
	where := fmt.Sprintf("finding %s of %s", a.ID, a.Agent)
	d, err := v.recorded(ctx, KindFinding, a.Agent, a.ID, a.Revision)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Sprintf("%s: the record has no revision %d of it", where, a.Revision), nil
	case errors.Is(err, errRemoved):
		return "", nil
	case err != nil:
		return "", err
	case !same(d.Body, []byte(a.Document)):
		return where + ": its document is not the one that was recorded", nil
	case !d.Received.Equal(a.Received):
		return where + ": its time of receipt is not the one that was recorded", nil
	}
	return v.triage(ctx, a)
}

// errRemoved is of an entry whose document went with age.
var errRemoved = errors.New("removed with age")

func (v *verifier) recorded(ctx context.Context, kind, agent, id string, revision uint64) (Document, error) {
	e, err := v.Store.RecordEntry(ctx, kind, agent, id, revision)
	if err != nil {
		return Document{}, err
	}
	if !e.Removed.IsZero() {
		return Document{}, errRemoved
	}
	var d Document
	if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
		return Document{}, nil // told where the entry itself is checked
	}
	return d, nil
}

// look compares something now, and puts it off where it does not agree.
func (v *verifier) look(ctx context.Context, count *int64, look func(context.Context) (string, error)) error {
	diff, err := look(ctx)
	switch {
	case err != nil:
		return err
	case diff != "":
		v.waiting = append(v.waiting, look)
	default:
		*count++
	}
	return nil
}

// packetsPage is how many findings' packets are read at once: each may have 4 MiB.
const packetsPage = 20

func (v *verifier) packets(ctx context.Context) error {
	for agent, id := "", ""; ; {
		list, err := v.Store.AuditEvidence(ctx, agent, id, packetsPage)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, p := range list {
			agent, id = p.Agent, p.ID
			if err := v.look(ctx, &v.out.Packets, func(ctx context.Context) (string, error) { return v.packetsOf(ctx, p) }); err != nil {
				return err
			}
		}
	}
}

func (v *verifier) packetsOf(ctx context.Context, p store.AuditedPackets) (string, error) {
	d, err := v.recorded(ctx, KindFinding, p.Agent, p.ID, p.Revision)
	switch {
	case errors.Is(err, errRemoved):
		return "", nil
	case errors.Is(err, store.ErrNotFound), err == nil && (d.Packets != p.SHA256 || p.Claimed != claimed(d)):
		return fmt.Sprintf("packets of finding %s of %s: they are not those that were recorded", p.ID, p.Agent), nil
	}
	return "", err
}

// claimed is the digest of the packets that the agent gave.
func claimed(d Document) string {
	var f struct {
		Evidence struct {
			SHA256 string `json:"sha256"`
		} `json:"evidence"`
	}
	_ = json.Unmarshal(d.Body, &f) // told where the entry itself is checked
	return f.Evidence.SHA256
}

func (v *verifier) decisions(ctx context.Context) error {
	for after := int64(0); ; {
		list, err := v.Store.DecisionsAfter(ctx, after, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, d := range list {
			after = d.Key
			if err := v.look(ctx, &v.out.Decisions, func(ctx context.Context) (string, error) { return v.decision(ctx, d) }); err != nil {
				return err
			}
		}
	}
}

func (v *verifier) decision(ctx context.Context, d store.Decision) (string, error) {
	where := fmt.Sprintf("decision %d on finding %s of %s", d.Key, d.ID, d.Agent)
	text, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	got, err := v.recorded(ctx, KindDecision, d.Agent, d.ID, uint64(d.Key))
	switch {
	case errors.Is(err, errRemoved):
		return "", nil
	case errors.Is(err, store.ErrNotFound):
		return where + ": it is not in the record", nil
	case err == nil && !same(got.Body, text):
		return where + ": it is not what was recorded", nil
	}
	return "", err
}

// unrecorded finds what the store has and the record has not.
func (v *verifier) unrecorded(ctx context.Context) error {
	list, err := v.Store.AuditUnrecorded(ctx, maxDifferences)
	for _, r := range list {
		v.waiting = append(v.waiting, func(ctx context.Context) (string, error) {
			_, err := v.Store.RecordEntry(ctx, KindFinding, r.Agent, r.ID, r.Revision)
			if errors.Is(err, store.ErrNotFound) {
				return fmt.Sprintf("revision %d of finding %s of %s is in the store and not in the record", r.Revision, r.ID, r.Agent), nil
			}
			return "", err
		})
	}
	return err
}

// again looks at what did not agree until it does or the time is over.
func (v *verifier) again(ctx context.Context) error {
	for end := time.Now().Add(v.Wait); ; {
		var still []func(context.Context) (string, error)
		var diffs []string
		for _, look := range v.waiting {
			diff, err := look(ctx)
			if err != nil {
				return err
			}
			if diff != "" {
				still, diffs = append(still, look), append(diffs, diff)
			}
		}
		if v.waiting = still; len(still) == 0 {
			return nil
		}
		if time.Now().After(end) {
			for _, d := range diffs {
				if err := v.differ("%s", d); err != nil {
					return err
				}
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}
