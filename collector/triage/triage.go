// Package triage is where reviewers say what a finding is. What they say is kept,
// audited, and goes into the record.
package triage

import (
	"context"
	"time"

	"sallyport/collector/record"
	"sallyport/collector/store"
	"sallyport/collector/stream"
)

// Desk takes decisions.
type Desk struct{ store *store.Store }

// New makes a desk.
func New(s *store.Store) *Desk { return &Desk{s} }

// Verdict is what a reviewer says.
type Verdict struct {
	State    string `json:"state"`              // new, in_progress or closed
	Assignee string `json:"assignee,omitempty"` // who works on it
	Decision string `json:"decision,omitempty"` // licensed, benign or confirmed_contact
	Note     string `json:"note,omitempty"`
}

// Invalid is a verdict that cannot be taken, for the reviewer.
type Invalid struct{ error }

// Decide keeps what a reviewer says of a finding, and records it. Should the
// collector end in between, the record takes it when it starts again.
func (d *Desk) Decide(ctx context.Context, agent, id string, v Verdict, author, address string) (store.Decision, error) {
	x := store.Decision{Agent: agent, ID: id, At: time.Now(), Author: author, State: v.State, Assignee: v.Assignee, Decision: v.Decision, Note: v.Note}
	if err := x.Validate(); err != nil {
		return store.Decision{}, Invalid{err}
	}
	action := "triaged: " + v.State
	if v.Decision != "" {
		action += ", " + v.Decision
	}
	if err := d.store.LogAccess(ctx, store.Access{At: x.At, Actor: author, Action: action, Subject: agent + "/" + id, Address: address}); err != nil {
		return store.Decision{}, err
	}
	x, err := d.store.Decide(ctx, x)
	if err != nil {
		return store.Decision{}, err
	}
	e, err := record.DecisionEntry(x)
	if err != nil {
		return x, err
	}
	return x, record.Append(context.WithoutCancel(ctx), d.store, []stream.Entry{e})
}
