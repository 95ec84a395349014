package admin

import (
	"net/http"
	"time"

	"sallyport/collector/store"
	"sallyport/collector/triage"
)

// actor is who acts through the socket.
const actor = "admin socket"

// Label is an agent's label to be set, or taken away where the value is empty.
type Label struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func (s *Server) label(r *http.Request) (any, error) {
	l, err := decode[Label](r)
	if err != nil {
		return nil, err
	}
	return nil, s.Fleet.SetLabel(r.Context(), r.PathValue("name"), l.Name, l.Value)
}

func (s *Server) hold(r *http.Request, hold bool) error {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	if err := s.Store.SetLegalHold(r.Context(), agent, id, hold); err != nil {
		return err
	}
	action := "ended legal hold"
	if hold {
		action = "set legal hold"
	}
	return s.Store.LogAccess(r.Context(), store.Access{At: time.Now(), Actor: actor, Action: action, Subject: agent + "/" + id, Address: "local"})
}

func (s *Server) decide(r *http.Request) (any, error) {
	v, err := decode[triage.Verdict](r)
	if err != nil {
		return nil, err
	}
	return s.Triage.Decide(r.Context(), r.PathValue("agent"), r.PathValue("id"), v, actor, "local")
}
