package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"sallyport/collector/fleet"
	"sallyport/collector/store"
	"sallyport/collector/triage"
)

func (a *API) findings(r request) (any, error) {
	q, err := store.ParseQuery(r.URL.Query())
	if err != nil {
		return nil, badRequest{err}
	}
	page, err := a.parts.Store.Findings(r.Context(), q)
	if err != nil {
		return nil, err
	}
	if page.Findings == nil {
		page.Findings = []store.Finding{}
	}
	return page, nil
}

func (a *API) finding(r request) (any, error) {
	return a.parts.Store.Finding(r.Context(), r.PathValue("agent"), r.PathValue("id"))
}

func (a *API) revisions(r request) (any, error) {
	return list(a.parts.Store.Revisions(r.Context(), r.PathValue("agent"), r.PathValue("id"), a.cfg.List))
}

// evidence notes the look before it shows anything.
func (a *API) evidence(r request) (any, error) {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	e, err := a.parts.Store.Evidence(r.Context(), agent, id)
	if err != nil {
		return nil, err
	}
	return e, a.log(r, "read evidence", agent+"/"+id)
}

func (a *API) hold(r request) (any, error) { return nil, a.setHold(r, true, "set legal hold") }

func (a *API) release(r request) (any, error) { return nil, a.setHold(r, false, "ended legal hold") }

func (a *API) setHold(r request, hold bool, action string) error {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	if err := a.parts.Store.SetLegalHold(r.Context(), agent, id, hold); err != nil {
		return err
	}
	return a.log(r, action, agent+"/"+id)
}

func (a *API) log(r request, action, subject string) error {
	return a.parts.Store.LogAccess(r.Context(), store.Access{At: time.Now(), Actor: r.who.Name, Action: action, Subject: subject, Address: r.RemoteAddr})
}

func (a *API) agents(r request) (any, error) {
	agents, err := a.parts.Fleet.Agents(r.Context(), time.Now())
	return list(fleet.Labelled(agents, r.URL.Query()["label"]), err)
}

func (a *API) decisions(r request) (any, error) {
	return list(a.parts.Store.DecisionsOf(r.Context(), r.PathValue("agent"), r.PathValue("id")))
}

// MaxBody bounds what is sent, in bytes.
const MaxBody = 16 << 10

// read reads what was sent. A field that is not known is refused: it would not do
// what its sender thinks.
func read(r request, what string, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, MaxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badRequest{fmt.Errorf("the body is not a %s: %w", what, err)}
	}
	return nil
}

func (a *API) decide(r request) (any, error) {
	var v triage.Verdict
	if err := read(r, "verdict", &v); err != nil {
		return nil, err
	}
	return a.parts.Desk.Decide(r.Context(), r.PathValue("agent"), r.PathValue("id"), v, r.who.Name, r.RemoteAddr)
}

func (a *API) assignments(r request) (any, error) {
	return list(a.parts.Packs.Assignments(r.Context()))
}

func (a *API) bounds(request) (any, error) { return a.parts.Limits, nil }

func (a *API) exporterStatus(r request) (any, error) {
	return list(a.parts.Exporters.Status(r.Context()))
}

func (a *API) parked(r request) (any, error) {
	return list(a.parts.Store.Parked(r.Context(), r.URL.Query().Get("exporter"), a.cfg.List))
}

func (a *API) accessLog(r request) (any, error) {
	return list(a.parts.Store.AccessLog(r.Context(), a.cfg.List))
}

// list makes an empty list of none, which JSON tells from null.
func list[T any](v []T, err error) (any, error) {
	if v == nil {
		v = []T{}
	}
	return v, err
}
