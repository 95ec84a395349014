package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sallyport/collector/store"
)

// findings compares the store's findings with the record.
func (v *verifier) findings(ctx context.Context) error {
	for agent, id := "", ""; ; {
		list, err := v.Store.AuditFindings(ctx, agent, id, page)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, a := range list {
			agent, id = a.Agent, a.ID
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
