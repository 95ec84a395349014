// Package api is the collector's JSON API for programs. The routes below are all
// there is; the OpenAPI document is made from them.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"sallyport/collector/account"
	"sallyport/collector/export"
	"sallyport/collector/fleet"
	"sallyport/collector/store"
	"sallyport/collector/triage"
)

// Config bounds what programs may ask.
type Config struct {
	// RequestsPerSecond of one token; short bursts may be ten times that.
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	// Streams bounds how many streams of findings are open at once.
	Streams int `yaml:"streams"`
}

// DefaultConfig lets a token ask 20 times a second.
func DefaultConfig() Config { return Config{RequestsPerSecond: 20, Streams: 50} }

// Validate checks the settings.
func (c Config) Validate() error {
	if c.RequestsPerSecond <= 0 {
		return errors.New("api.requests_per_second must be more than 0")
	}
	if c.Streams < 0 {
		return errors.New("api.streams must not be negative")
	}
	return nil
}

// Store is what is read.
type Store interface {
	Findings(context.Context, store.Query) (store.Page, error)
	Finding(ctx context.Context, agent, id string) (store.Finding, error)
	Revisions(ctx context.Context, agent, id string, limit int) ([]store.Revision, error)
	Evidence(ctx context.Context, agent, id string) (store.Evidence, error)
	DecisionsOf(ctx context.Context, agent, id string) ([]store.Decision, error)
	SetLegalHold(ctx context.Context, agent, id string, hold bool) error
	LogAccess(context.Context, store.Access) error
	Arrived(ctx context.Context, q store.Query, after store.Arrival) ([]store.Arrived, error)
	AccessLog(ctx context.Context, limit int) ([]store.Access, error)
	Parked(ctx context.Context, exporter string, limit int) ([]store.Parked, error)
}

// Fleet knows the agents.
type Fleet interface {
	Agents(context.Context, time.Time) ([]fleet.Agent, error)
}

// Exporters say how they do.
type Exporters interface {
	Status(context.Context) ([]export.Status, error)
}

// Desk takes what reviewers say.
type Desk interface {
	Decide(ctx context.Context, agent, id string, v triage.Verdict, author, address string) (store.Decision, error)
}

// Tokens says who a bearer token belongs to.
type Tokens interface {
	Token(ctx context.Context, secret string) (account.Principal, error)
}

// API answers programs.
type API struct {
	cfg       Config
	store     Store
	fleet     Fleet
	exporters Exporters
	desk      Desk
	tokens    Tokens
	version   string
	logger    hclog.Logger

	stop     chan struct{} // closed when the collector ends
	stopOnce sync.Once
	mu       sync.Mutex
	streams  int                      // open now
	limiters map[string]*rate.Limiter // by principal; there are as many as tokens
}

// New makes the API.
func New(cfg Config, s Store, f Fleet, e Exporters, d Desk, t Tokens, version string, logger hclog.Logger) *API {
	return &API{cfg: cfg, store: s, fleet: f, exporters: e, desk: d, tokens: t, version: version, logger: logger.Named("api"), stop: make(chan struct{}), limiters: map[string]*rate.Limiter{}}
}

// Close ends the streams, which would hold up the collector's end.
func (a *API) Close() { a.stopOnce.Do(func() { close(a.stop) }) }

// Prefix is where the API lies.
const Prefix = "/api/v1"

// route is one thing a program can ask.
type route struct {
	method, path string
	needs        account.Permission // empty: anybody
	summary      string
	parameters   []parameter
	returns      string // a schema of the OpenAPI document, or a media type
	handle       func(*API, request) (any, error)
}

// request is an authenticated one.
type request struct {
	*http.Request
	who account.Principal
}

// routes is everything a program can ask.
var routes = []route{
	{"GET", "/findings", account.ReadFindings, "List findings, the latest flow first", findingParameters, "Page", (*API).findings},
	{"GET", "/findings/{agent}/{id}", account.ReadFindings, "Read one finding, without its packets", nil, "Finding", (*API).finding},
	{"GET", "/findings/{agent}/{id}/revisions", account.ReadFindings, "List the revisions of a finding as they came", nil, "Revisions", (*API).revisions},
	{"GET", "/findings/{agent}/{id}/evidence", account.ReadEvidence, "Download a finding's packets; the access is logged", nil, "application/x-pcapng", (*API).evidence},
	{"PUT", "/findings/{agent}/{id}/legal-hold", account.SetHold, "Keep a finding whatever its age", nil, "", (*API).hold},
	{"DELETE", "/findings/{agent}/{id}/legal-hold", account.SetHold, "End a legal hold", nil, "", (*API).release},
	{"GET", "/findings/{agent}/{id}/triage", account.ReadFindings, "List what reviewers said of a finding, the last first", nil, "Decisions", (*API).decisions},
	{"POST", "/findings/{agent}/{id}/triage", account.Decide, "Say what a finding is; the body is a Verdict", nil, "Decision", (*API).decide},
	{"GET", "/findings/stream", account.ReadFindings, "Stream findings as they are stored: server-sent events, each a Finding; filters as of /findings", streamParameters, "text/event-stream", (*API).stream},
	{"GET", "/agents", account.ReadAgents, "List agents with what is silent, missing, lost and dropped", []parameter{{"label", "only agents with this label, name=value or name; may be given again"}}, "Agents", (*API).agents},
	{"GET", "/exporters", account.ReadExporters, "List exporters and how far behind they are", nil, "Exporters", (*API).exporterStatus},
	{"GET", "/parked", account.ReadExporters, "List what receivers refused for good", []parameter{{"exporter", "name of an exporter"}}, "Parked", (*API).parked},
	{"GET", "/access-log", account.ReadAccessLog, "List who read evidence and who signed in", nil, "Accesses", (*API).accessLog},
}

// Handler serves everything below Prefix.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.method+" "+Prefix+r.path, a.serve(r))
	}
	mux.HandleFunc("GET "+Prefix+"/openapi.json", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, Document(a.version)) })
	mux.HandleFunc(Prefix+"/", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusNotFound, problem{"no such path"}) })
	return mux
}

// problem is the body of an answer that is not 2xx.
type problem struct {
	Error string `json:"error"`
}

// serve checks who asks and what they may, then answers.
func (a *API) serve(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		who, err := a.authenticate(req)
		switch {
		case errors.Is(err, account.ErrToken):
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, problem{err.Error()})
			return
		case err != nil:
			a.fail(w, err)
			return
		case !a.limiter(who.Name).Allow():
			w.Header().Set("Retry-After", "1")
			answer(w, http.StatusTooManyRequests, problem{"too many requests"})
			return
		case !who.May(r.needs):
			answer(w, http.StatusForbidden, problem{"this token may not " + string(r.needs)})
			return
		}
		v, err := r.handle(a, request{req, who})
		if err != nil {
			a.fail(w, err)
			return
		}
		if s, ok := v.(*streaming); ok {
			s.serve(w, req)
			return
		}
		if packets, ok := v.(store.Evidence); ok {
			w.Header().Set("Content-Type", "application/x-pcapng")
			w.Header().Set("Content-Length", strconv.Itoa(len(packets.PCAPNG)))
			_, _ = w.Write(packets.PCAPNG) // the program hung up
			return
		}
		if v == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		answer(w, http.StatusOK, v)
	})
}

func (a *API) authenticate(r *http.Request) (account.Principal, error) {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(secret) > 200 {
		return account.Principal{}, account.ErrToken
	}
	return a.tokens.Token(r.Context(), secret)
}

func (a *API) limiter(name string) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	l, ok := a.limiters[name]
	if !ok {
		l = rate.NewLimiter(rate.Limit(a.cfg.RequestsPerSecond), max(1, int(10*a.cfg.RequestsPerSecond)))
		a.limiters[name] = l
	}
	return l
}

// badRequest is an error of the one who asks.
type badRequest struct{ error }

func (a *API) fail(w http.ResponseWriter, err error) {
	var bad badRequest
	var invalid triage.Invalid
	switch {
	case errors.Is(err, store.ErrNotFound):
		answer(w, http.StatusNotFound, problem{"not found"})
	case errors.As(err, &bad), errors.As(err, &invalid), errors.Is(err, store.ErrCursor):
		answer(w, http.StatusBadRequest, problem{err.Error()})
	default:
		a.logger.Error("request not served", "error", err)
		answer(w, http.StatusInternalServerError, problem{"the collector cannot do that now"})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the program hung up
}
