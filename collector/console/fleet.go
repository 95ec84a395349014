package console

import (
	"net/http"
	"time"

	"sallyport/collector/account"
	"sallyport/collector/export"
	"sallyport/collector/fleet"
	"sallyport/collector/store"
)

// shownRows bounds lists without pages.
const shownRows = 200

// agentsPage is the list of agents.
type agentsPage struct {
	Agents []fleet.Agent
	Labels []string // that they were filtered by
	States map[string]int
}

func (c *Console) agents(w http.ResponseWriter, r *http.Request, s account.Session) error {
	agents, err := c.parts.Fleet.Agents(r.Context(), time.Now())
	if err != nil {
		return err
	}
	labels := r.URL.Query()["label"]
	agents = fleet.Labelled(agents, labels)
	p := agentsPage{Agents: agents, Labels: labels, States: map[string]int{}}
	for _, a := range agents {
		p.States[a.State]++
	}
	c.render(w, http.StatusOK, "agents", s, p)
	return nil
}

func (c *Console) agent(w http.ResponseWriter, r *http.Request, s account.Session) error {
	a, err := c.parts.Fleet.Agent(r.Context(), r.PathValue("agent"), time.Now())
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "agent", s, a)
	return nil
}

// exportersPage is the exporters and what they parked.
type exportersPage struct {
	Exporters []export.Status
	Parked    []store.Parked
}

func (c *Console) exporterList(w http.ResponseWriter, r *http.Request, s account.Session) error {
	var p exportersPage
	var err error
	if p.Exporters, err = c.parts.Exporters.Status(r.Context()); err != nil {
		return err
	}
	if p.Parked, err = c.parts.Store.Parked(r.Context(), "", shownRows); err != nil {
		return err
	}
	c.render(w, http.StatusOK, "exporters", s, p)
	return nil
}

func (c *Console) access(w http.ResponseWriter, r *http.Request, s account.Session) error {
	list, err := c.parts.Store.AccessLog(r.Context(), shownRows)
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "access", s, list)
	return nil
}
