package console

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"sallyport/collector/account"
	"sallyport/collector/store"
	"sallyport/collector/triage"
)

// shownRevisions bounds the history on a finding's page.
const shownRevisions = 50

// listPage is the list of findings.
type listPage struct {
	Query  url.Values
	Error  string // what is wrong with the filter
	Page   store.Page
	Next   string // link of the next page
	Counts store.Counts
	Paged  bool // not the first page
}

// filters are the parameters of the list's form.
var filters = []string{"q", "severity", "protocol", "direction", "outcome", "state", "agent", "entity", "triage", "assignee", "decision", "from", "to", "test", "suppressed"}

func (c *Console) findings(w http.ResponseWriter, r *http.Request, s account.Session) error {
	values := url.Values{}
	for _, name := range append(filters, "cursor") {
		if v := r.URL.Query().Get(name); v != "" {
			values.Set(name, v)
		}
	}
	p := listPage{Query: values, Paged: values.Has("cursor")}
	status := http.StatusOK
	q, err := store.ParseQuery(values)
	if err == nil {
		p.Page, err = c.parts.Store.Findings(r.Context(), q)
		if err != nil && !errors.Is(err, store.ErrCursor) {
			return err
		}
	}
	if err != nil {
		p.Error, status = err.Error(), http.StatusBadRequest
	}
	if p.Page.Next != "" {
		next := maps.Clone(values)
		next.Set("cursor", p.Page.Next)
		p.Next = "/findings?" + next.Encode()
	}
	if p.Counts, err = c.parts.Store.Counts(r.Context()); err != nil {
		return err
	}
	c.render(w, status, "findings", s, p)
	return nil
}

// findingPage is one finding with its story.
type findingPage struct {
	store.Finding
	Story     story
	Evidence  *store.Evidence // nil without packets
	Revisions []store.Revision
	Document  string
	MayRead   bool // the packets
	MayHold   bool
	MayDecide bool
	Decisions []store.Decision // the last first
	Path      string
}

func (c *Console) finding(w http.ResponseWriter, r *http.Request, s account.Session) error {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	f, err := c.parts.Store.Finding(r.Context(), agent, id)
	if err != nil {
		return err
	}
	p := findingPage{
		Finding: f, Story: tell(&f.Finding), MayRead: s.May(account.ReadEvidence), MayHold: s.May(account.SetHold), MayDecide: s.May(account.Decide),
		Path: findingPath(agent, id), Document: document(f.Finding),
	}
	if e, err := c.parts.Store.EvidenceFacts(r.Context(), agent, id); err == nil {
		p.Evidence = &e
	} else if !isNotFound(err) {
		return err
	}
	if p.Revisions, err = c.parts.Store.Revisions(r.Context(), agent, id, shownRevisions); err != nil {
		return err
	}
	if p.Decisions, err = c.parts.Store.DecisionsOf(r.Context(), agent, id); err != nil {
		return err
	}
	c.render(w, http.StatusOK, "finding", s, p)
	return nil
}

func findingPath(agent, id string) string {
	return "/findings/" + url.PathEscape(agent) + "/" + url.PathEscape(id)
}

// evidence notes the look before it shows anything.
func (c *Console) evidence(w http.ResponseWriter, r *http.Request, s account.Session) error {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	e, err := c.parts.Store.Evidence(r.Context(), agent, id)
	if err != nil {
		return err
	}
	if err := c.log(r, s, "read evidence", agent+"/"+id); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-pcapng")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", fileName(agent+"-"+id)+".pcapng"))
	w.Header().Set("Content-Length", strconv.Itoa(len(e.PCAPNG)))
	_, _ = w.Write(e.PCAPNG) // the browser hung up
	return nil
}

// fileName keeps what any file system takes.
func fileName(s string) string {
	b := []byte(s)
	for i, x := range b {
		if x != '-' && x != '_' && x != '.' && (x < '0' || x > '9') && (x < 'a' || x > 'z') && (x < 'A' || x > 'Z') {
			b[i] = '_'
		}
	}
	return string(b[:min(len(b), 120)])
}

func (c *Console) hold(w http.ResponseWriter, r *http.Request, s account.Session) error {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	hold := r.PostFormValue("hold") == "true"
	if err := c.parts.Store.SetLegalHold(r.Context(), agent, id, hold); err != nil {
		return err
	}
	action := "ended legal hold"
	if hold {
		action = "set legal hold"
	}
	if err := c.log(r, s, action, agent+"/"+id); err != nil {
		return err
	}
	http.Redirect(w, r, findingPath(agent, id), http.StatusSeeOther)
	return nil
}

func (c *Console) decide(w http.ResponseWriter, r *http.Request, s account.Session) error {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	v := triage.Verdict{State: r.PostFormValue("state"), Assignee: r.PostFormValue("assignee"), Decision: r.PostFormValue("decision"), Note: r.PostFormValue("note")}
	_, err := c.parts.Desk.Decide(r.Context(), agent, id, v, s.Name, address(r))
	var invalid triage.Invalid
	if errors.As(err, &invalid) {
		return refusal{http.StatusBadRequest, "This was not kept: " + invalid.Error() + ". Go back and change it."}
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, findingPath(agent, id), http.StatusSeeOther)
	return nil
}

func (c *Console) log(r *http.Request, s account.Session, action, subject string) error {
	return c.parts.Store.LogAccess(r.Context(), store.Access{At: time.Now(), Actor: s.Name, Action: action, Subject: subject, Address: address(r)})
}
