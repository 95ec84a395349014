package admin

import (
	"errors"
	"io"
	"net/http"

	"sallyport/collector/feeds"
	"sallyport/collector/packs"
)

// packRoutes are what an operator may do with packs and feeds.
func (s *Server) packRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /packs", handle(s, func(*http.Request) (any, error) { return s.Packs.List() }))
	mux.HandleFunc("GET /packs/groups", handle(s, func(r *http.Request) (any, error) { return s.Packs.Assignments(r.Context()) }))
	mux.HandleFunc("POST /packs/{group}", handle(s, s.addPack))
	mux.HandleFunc("DELETE /packs/{group}/{name}", handle(s, func(r *http.Request) (any, error) {
		return nil, s.Packs.Remove(r.PathValue("group"), r.PathValue("name"))
	}))
	mux.HandleFunc("GET /feeds", handle(s, func(*http.Request) (any, error) { return s.Feeds.Outcomes() }))
	mux.HandleFunc("POST /feeds/{name}", handle(s, s.fetchFeed))
}

// addPack takes the archive as the body; Add bounds it.
func (s *Server) addPack(r *http.Request) (any, error) {
	return s.Packs.Add(r.PathValue("group"), func(w io.Writer) error {
		_, err := io.Copy(w, r.Body)
		return err
	})
}

// fetchFeed answers with the outcome of a failure too, which holds the reason.
func (s *Server) fetchFeed(r *http.Request) (any, error) {
	o, err := s.Feeds.Fetch(r.Context(), r.PathValue("name"), r.URL.Query().Get("force") == "true")
	if err != nil && o.Failure == "" {
		return nil, err
	}
	return o, nil
}

// notFound says that what was asked for is not there.
func notFound(err error) bool {
	return errors.Is(err, packs.ErrNotHeld) || errors.Is(err, feeds.ErrNoSource)
}
