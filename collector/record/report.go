package record

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sallyport/collector/store"
	"sallyport/rules"
)

// Report is everything the record has on contacts with one entity's
// infrastructure in a period, and on what was not seen. From is in it, To is not.
type Report struct {
	Version      int                    `json:"version"`
	Made         time.Time              `json:"made"`
	Collector    string                 `json:"collector_version"`
	Entity       rules.EntityRef        `json:"entity"`
	From         time.Time              `json:"from"`
	To           time.Time              `json:"to"`
	Statements   []string               `json:"statements"`
	Designations []rules.DesignationRef `json:"designations"` // as the findings carry them, of the time of the event
	Contacts     []Contact              `json:"contacts"`
	Totals       Totals                 `json:"totals"`
	Excluded     Excluded               `json:"excluded"`
	Agents       []AgentCoverage        `json:"agents"`
	NotSeen      []string               `json:"nodes_not_seen"` // enrolled, and without any coverage in the period
	Checkpoint   *ReportCheckpoint      `json:"checkpoint,omitempty"`
	Duties       []Duty                 `json:"duties"`
}

// Totals of the contacts.
type Totals struct {
	Contacts   int    `json:"contacts"`
	Suppressed int    `json:"suppressed"` // of them
	Flows      uint64 `json:"flows"`
	BytesOut   uint64 `json:"bytes_out"` // of the flows that the findings describe
	BytesIn    uint64 `json:"bytes_in"`
}

// Excluded counts what the report leaves out, and says so.
type Excluded struct {
	Test    int `json:"test"`    // findings of self-tests
	Removed int `json:"removed"` // entries of the record whose documents went with age, in the period
}

// Contact is one finding about the entity.
type Contact struct {
	Agent     string           `json:"agent"` // whose claim it is
	ID        string           `json:"id"`
	Finding   rules.Finding    `json:"finding"` // its last revision of the period, without packets
	Revisions []Revision       `json:"revisions"`
	Packets   string           `json:"packets_sha256,omitempty"` // of what came, computed at the collector
	LegalHold bool             `json:"legal_hold"`
	Decisions []store.Decision `json:"decisions"` // the first first
}

// Revision is one report of a contact.
type Revision struct {
	Revision uint64        `json:"revision"`
	Event    time.Time     `json:"event"`    // the flow's last sign of life, by the agent's clock
	Created  time.Time     `json:"created"`  // by the agent's clock
	Received time.Time     `json:"received"` // by the collector's clock
	State    string        `json:"state"`
	Flow     string        `json:"flow"`
	Outcome  rules.Outcome `json:"outcome"`
	BytesOut uint64        `json:"bytes_out"`
	BytesIn  uint64        `json:"bytes_in"`
	Pack     string        `json:"pack,omitempty"`
	Packets  string        `json:"packets_sha256,omitempty"`
	Proof    Proof         `json:"proof"`
}

// Proof shows that an entry is in the record that the checkpoint signs.
type Proof struct {
	Entry    int64    `json:"entry"`
	Leaf     string   `json:"leaf"` // data of the leaf, base64
	Salt     string   `json:"salt"`
	Document string   `json:"document"`         // what salt and leaf digest
	Hashes   []string `json:"hashes,omitempty"` // RFC 6962 audit path, base64; none where the entry is not signed yet
	Signed   bool     `json:"signed"`
}

// ReportCheckpoint is what the proofs lead to.
type ReportCheckpoint struct {
	Size   int64     `json:"size"`
	At     time.Time `json:"at"`
	Note   string    `json:"note"`
	Signer string    `json:"signer"`
}

// Query says what a report is of.
type Query struct {
	Entity   string
	From, To time.Time
}

// Validate says what to ask instead.
func (q Query) Validate() error {
	switch {
	case q.Entity == "":
		return errors.New("name an entity by its id with --entity")
	case q.From.IsZero() || q.To.IsZero() || !q.From.Before(q.To):
		return errors.New("the period is empty: --from must lie before --to")
	}
	return nil
}

// Build makes a report. The last checkpoint is what its proofs lead to, so sign
// first.
func Build(ctx context.Context, s *store.Store, q Query, version string, now time.Time) (Report, error) {
	if err := q.Validate(); err != nil {
		return Report{}, err
	}
	b := builder{store: s, query: q, report: Report{
		Version: 1, Made: now.UTC(), Collector: version, Entity: rules.EntityRef{ID: q.Entity}, From: q.From.UTC(), To: q.To.UTC(),
		Statements: statements, Duties: duties(), Contacts: []Contact{}, Designations: []rules.DesignationRef{},
	}}
	for _, step := range []func(context.Context) error{b.checkpoint, b.contacts, b.removed, b.coverage} {
		if err := step(ctx); err != nil {
			return Report{}, err
		}
	}
	return b.report, nil
}

type builder struct {
	store  *store.Store
	query  Query
	report Report
}

func (b *builder) checkpoint(ctx context.Context) error {
	c, err := b.store.LastCheckpoint(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	b.report.Checkpoint = &ReportCheckpoint{c.Size, c.At, c.Note, c.Signer}
	return err
}

// contacts goes through every finding about the entity.
func (b *builder) contacts(ctx context.Context) error {
	for q := (store.Query{Entity: b.query.Entity, Limit: store.MaxPage}); ; {
		list, err := b.store.Findings(ctx, q)
		if err != nil {
			return err
		}
		for _, f := range list.Findings {
			if err := b.contact(ctx, f); err != nil {
				return err
			}
		}
		if list.Next == "" {
			break
		}
		q.Cursor = list.Next
	}
	slices.SortFunc(b.report.Contacts, func(x, y Contact) int {
		return strings.Compare(x.Finding.First.UTC().Format(time.RFC3339Nano)+x.Agent+x.ID, y.Finding.First.UTC().Format(time.RFC3339Nano)+y.Agent+y.ID)
	})
	return nil
}

// contact takes a finding whose flows fall into the period.
func (b *builder) contact(ctx context.Context, f store.Finding) error {
	if f.Finding.OfAgent() {
		return nil // about the fleet: no contact of its own
	}
	if f.Finding.Last.Before(b.query.From) || !f.Finding.First.Before(b.query.To) {
		return nil
	}
	entries, err := b.store.RecordOf(ctx, KindFinding, f.Reporter, f.Finding.ID)
	if err != nil {
		return err
	}
	c := Contact{Agent: f.Reporter, ID: f.Finding.ID, LegalHold: f.LegalHold, Decisions: []store.Decision{}}
	flows := map[string]Revision{}
	for _, e := range entries {
		if !e.Removed.IsZero() {
			continue // counted in removed
		}
		r, finding, err := b.revision(ctx, e)
		if err != nil {
			return err
		}
		o := &finding.Observation
		if o.Last.Before(b.query.From) || !o.First.Before(b.query.To) {
			continue
		}
		if c.Revisions = append(c.Revisions, r); r.Revision >= c.Finding.Revision {
			c.Finding = finding
		}
		if r.Packets != "" {
			c.Packets = r.Packets
		}
		if old, ok := flows[r.Flow]; !ok || r.Revision > old.Revision {
			flows[r.Flow] = r
		}
	}
	switch {
	case len(c.Revisions) == 0:
		return nil
	case c.Finding.Test:
		b.report.Excluded.Test++
		return nil
	}
	if c.Decisions, err = b.decisions(ctx, f.Reporter, f.Finding.ID); err != nil {
		return err
	}
	for _, r := range flows {
		b.report.Totals.BytesOut += r.BytesOut
		b.report.Totals.BytesIn += r.BytesIn
	}
	b.report.Totals.Contacts++
	b.report.Totals.Flows += c.Finding.Count
	if c.Finding.Suppressed != nil {
		b.report.Totals.Suppressed++
	}
	b.entity(&c.Finding)
	b.report.Contacts = append(b.report.Contacts, c)
	return nil
}

func (b *builder) entity(f *rules.Finding) {
	for _, m := range f.Matches {
		if m.Entity.ID != b.query.Entity {
			continue
		}
		b.report.Entity = m.Entity
		for _, d := range m.Designations {
			if !slices.Contains(b.report.Designations, d) {
				b.report.Designations = append(b.report.Designations, d)
			}
		}
	}
}

func (b *builder) revision(ctx context.Context, e store.RecordEntry) (Revision, rules.Finding, error) {
	var d Document
	var f rules.Finding
	if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
		return Revision{}, f, fmt.Errorf("read entry %d of the record: %w", e.N, err)
	}
	if err := json.Unmarshal(d.Body, &f); err != nil {
		return Revision{}, f, fmt.Errorf("read entry %d of the record: %w", e.N, err)
	}
	p, err := b.proof(ctx, e)
	o := &f.Observation
	return Revision{
		Revision: f.Revision, Event: o.Last, Created: f.Created, Received: d.Received, State: f.State, Flow: o.FlowID, Outcome: o.Outcome,
		BytesOut: o.BytesOut, BytesIn: o.BytesIn, Pack: f.Agent.Pack, Packets: d.Packets, Proof: p,
	}, f, err
}

// proof shows that an entry is under the checkpoint.
func (b *builder) proof(ctx context.Context, e store.RecordEntry) (Proof, error) {
	p := Proof{Entry: e.N, Leaf: base64.StdEncoding.EncodeToString(Leaf(e)), Salt: e.Salt, Document: e.Document}
	if b.report.Checkpoint == nil || e.N >= b.report.Checkpoint.Size {
		return p, nil
	}
	hashes, err := tlog.ProveRecord(b.report.Checkpoint.Size, e.N, hashesOf(ctx, b.store))
	if err != nil {
		return p, fmt.Errorf("prove entry %d of the record: %w", e.N, err)
	}
	for _, h := range hashes {
		p.Hashes = append(p.Hashes, h.String())
	}
	p.Signed = true
	return p, nil
}

// decisions come from the record, not from the list that can be changed.
func (b *builder) decisions(ctx context.Context, agent, id string) ([]store.Decision, error) {
	entries, err := b.store.RecordOf(ctx, KindDecision, agent, id)
	list := []store.Decision{}
	for _, e := range entries {
		if !e.Removed.IsZero() {
			continue
		}
		var d Document
		var x store.Decision
		if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
			return nil, fmt.Errorf("read entry %d of the record: %w", e.N, err)
		}
		if err := json.Unmarshal(d.Body, &x); err != nil {
			return nil, fmt.Errorf("read entry %d of the record: %w", e.N, err)
		}
		list = append(list, x)
	}
	return list, err
}

func (b *builder) removed(ctx context.Context) error {
	var err error
	b.report.Excluded.Removed, err = b.store.CountRemoved(ctx, KindFinding, b.query.From, b.query.To)
	return err
}
