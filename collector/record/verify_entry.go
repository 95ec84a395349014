package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport/collector/store"
	"sallyport/rules"
)

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
