package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sallyport/collector/store"
)

const (
	// streamPoll is how often the store is asked for new findings.
	streamPoll = time.Second
	// streamAlive is how often a comment is sent where nothing happens.
	streamAlive = 15 * time.Second
)

// streaming is a stream of findings that is to be served.
type streaming struct {
	api   *API
	who   string
	query store.Query
	after store.Arrival
}

// stream sends findings as they are stored. The id of an event is where to go on
// from: a client that comes back with Last-Event-ID misses nothing.
func (a *API) stream(r request) (any, error) {
	values := r.URL.Query()
	since := values.Get("since")
	values.Del("since")
	for _, name := range []string{"cursor", "limit", "from", "to"} {
		if values.Has(name) {
			return nil, badRequest{fmt.Errorf("%s is no parameter of a stream", name)}
		}
	}
	q, err := store.ParseQuery(values)
	if err != nil {
		return nil, badRequest{err}
	}
	s := &streaming{api: a, who: r.who.Name, query: q, after: store.Arrival{At: time.Now()}}
	if since != "" {
		if s.after.At, err = store.ParseTime("since", since); err != nil {
			return nil, badRequest{err}
		}
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if s.after, err = store.ParseArrival(id); err != nil {
			return nil, badRequest{err}
		}
	}
	return s, nil
}

// serve sends until the client goes or the stream's life is over.
func (s *streaming) serve(w http.ResponseWriter, r *http.Request) {
	if !s.api.openStream(s.who) {
		s.api.tooMany(w, 10*time.Second, "too many streams are open")
		return
	}
	defer s.api.closeStream(s.who)
	life := s.api.cfg.StreamLife
	ctx, cancel := context.WithTimeout(r.Context(), life)
	defer cancel()
	out := http.NewResponseController(w)
	if err := out.SetWriteDeadline(time.Now().Add(life + time.Minute)); err != nil {
		s.api.fail(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(streamPoll)
	defer tick.Stop()
	var quiet time.Time
	for {
		n, err := s.send(ctx, w)
		if err != nil {
			return // the client comes back, with where it was
		}
		if now := time.Now(); n > 0 || now.Sub(quiet) >= streamAlive {
			quiet = now
			if _, err := fmt.Fprint(w, ": alive\n\n"); err != nil {
				return
			}
			if out.Flush() != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.api.stop:
			return
		case <-tick.C:
		}
	}
}

// send writes what has arrived since.
func (s *streaming) send(ctx context.Context, w http.ResponseWriter) (int, error) {
	list, err := s.api.parts.Store.Arrived(ctx, s.query, s.after)
	if err != nil {
		return 0, err
	}
	for _, x := range list {
		text, err := json.Marshal(x.Finding)
		if err != nil {
			return 0, err
		}
		// JSON of one line: it holds no newline.
		if _, err := fmt.Fprintf(w, "id: %s\nevent: finding\ndata: %s\n\n", x.Arrival, strings.TrimSpace(string(text))); err != nil {
			return 0, err
		}
		s.after = x.Arrival
	}
	return len(list), nil
}

func (a *API) openStream(who string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	open := 0
	for _, n := range a.streams {
		open += n
	}
	if open >= a.cfg.Streams || a.streams[who] >= a.cfg.StreamsPerToken {
		return false
	}
	a.streams[who]++
	return true
}

func (a *API) closeStream(who string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.streams[who]--; a.streams[who] == 0 {
		delete(a.streams, who)
	}
}
