// Package api is the collector's JSON API for programs. The routes below are all
// there is; the OpenAPI document is made from them.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/collector/account"
	"sallyport/collector/export"
	"sallyport/collector/fleet"
	"sallyport/collector/limit"
	"sallyport/collector/packs"
	"sallyport/collector/record"
	"sallyport/collector/reports"
	"sallyport/collector/store"
	"sallyport/collector/triage"
)

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

// Packs says which packs are assigned to whom.
type Packs interface {
	Assignments(context.Context) ([]packs.Assignment, error)
}

// Reports makes reports of the record.
type Reports interface {
	Ask(record.Query, time.Time) (reports.Report, error)
	Find(id string) (reports.Report, error)
	List() []reports.Report
	Open(id, format string) (*os.File, reports.Report, error)
}

// Parts are what the API answers from.
type Parts struct {
	Store     Store
	Fleet     Fleet
	Exporters Exporters
	Desk      Desk
	Tokens    Tokens
	Packs     Packs
	Reports   Reports
	Limits    []limit.Bound // that are in force
}

// Tokens says who a bearer token belongs to.
type Tokens interface {
	Token(ctx context.Context, secret string) (account.Principal, error)
}

// API answers programs.
type API struct {
	cfg     Config
	parts   Parts
	version string
	logger  hclog.Logger

	requests *limit.Keyed  // by token
	refused  *limit.Keyed  // by address, of those without a valid token
	stop     chan struct{} // closed when the collector ends
	stopOnce sync.Once
	mu       sync.Mutex
	streams  map[string]int // open now, by token
}

// New makes the API.
func New(cfg Config, p Parts, version string, logger hclog.Logger) *API {
	return &API{
		cfg: cfg, parts: p, version: version, logger: logger.Named("api"), stop: make(chan struct{}), streams: map[string]int{},
		requests: limit.NewKeyed(cfg.RequestsPerSecond, int(10*cfg.RequestsPerSecond)), refused: limit.NewKeyed(float64(cfg.RefusedPerMinute)/60, cfg.RefusedPerMinute),
	}
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
	body         string // a schema of the OpenAPI document: what is sent
	returns      string // a schema, or media types separated by commas
	status       int    // of a good answer
	handle       func(*API, request) (any, error)
}

// request is an authenticated one.
type request struct {
	*http.Request
	who account.Principal
}

// routes is everything a program can ask.
var routes = []route{
	{"GET", "/findings", account.ReadFindings, "List findings, the latest flow first", findingParameters, "", "Page", 200, (*API).findings},
	{"GET", "/findings/{agent}/{id}", account.ReadFindings, "Read one finding, without its packets", nil, "", "Finding", 200, (*API).finding},
	{"GET", "/findings/{agent}/{id}/revisions", account.ReadFindings, "List the revisions of a finding as they came", nil, "", "Revisions", 200, (*API).revisions},
	{"GET", "/findings/{agent}/{id}/evidence", account.ReadEvidence, "Download a finding's packets; the access is logged", nil, "", "application/x-pcapng", 200, (*API).evidence},
	{"PUT", "/findings/{agent}/{id}/legal-hold", account.SetHold, "Keep a finding whatever its age", nil, "", "", 204, (*API).hold},
	{"DELETE", "/findings/{agent}/{id}/legal-hold", account.SetHold, "End a legal hold", nil, "", "", 204, (*API).release},
	{"GET", "/findings/{agent}/{id}/triage", account.ReadFindings, "List what reviewers said of a finding, the last first", nil, "", "Decisions", 200, (*API).decisions},
	{"POST", "/findings/{agent}/{id}/triage", account.Decide, "Say what a finding is", nil, "Verdict", "Decision", 200, (*API).decide},
	{"GET", "/findings/stream", account.ReadFindings, "Stream findings as they are stored: server-sent events, each a Finding; filters as of /findings", streamParameters, "", "text/event-stream", 200, (*API).stream},
	{"GET", "/agents", account.ReadAgents, "List agents with what is silent, missing, lost and dropped", []parameter{{"label", "only agents with this label, name=value or name; may be given again"}}, "", "Agents", 200, (*API).agents},
	{"GET", "/packs", account.ReadAgents, "List the groups of agents, who is in each now, and which packs they are offered", nil, "", "Assignments", 200, (*API).assignments},
	{"GET", "/exporters", account.ReadExporters, "List exporters and how far behind they are", nil, "", "Exporters", 200, (*API).exporterStatus},
	{"GET", "/parked", account.ReadExporters, "List what receivers refused for good", []parameter{{"exporter", "name of an exporter"}}, "", "Parked", 200, (*API).parked},
	{"GET", "/access-log", account.ReadAccessLog, "List who read evidence and the record, and who signed in", nil, "", "Accesses", 200, (*API).accessLog},
	{"GET", "/limits", account.ReadAgents, "List every limit that is in force", nil, "", "Limits", 200, (*API).bounds},
	{"POST", "/reports", account.ReadRecord, "Have a report made of contacts with an entity's infrastructure in a period; it is made meanwhile, and logged", nil, "ReportOrder", "Report", 202, (*API).askReport},
	{"GET", "/reports", account.ReadRecord, "List reports that lie at this collector", nil, "", "Reports", 200, (*API).listReports},
	{"GET", "/reports/{report}", account.ReadRecord, "Say whether a report is done; any of several collectors can be asked", nil, "", "Report", 200, (*API).report},
	{"GET", "/reports/{report}/document", account.ReadRecord, "Download a report that is done; the access is logged", []parameter{{"format", "json (the default) or html"}}, "", "application/json,text/html", 200, (*API).reportDocument},
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
		who, ok := a.admit(w, req)
		if !ok {
			return
		}
		if !who.May(r.needs) {
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
		if f, ok := v.(*file); ok {
			f.serve(w, req)
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
		answer(w, r.status, v)
	})
}

// admit finds out who asks and whether not too often, or answers.
func (a *API) admit(w http.ResponseWriter, req *http.Request) (account.Principal, bool) {
	now, from := time.Now(), address(req)
	// Before the token is looked up: guesses shall not reach the store.
	if wait, spent := a.refused.Spent(from, now); spent {
		a.tooMany(w, wait, "too many requests without a valid token from this address")
		return account.Principal{}, false
	}
	who, err := a.authenticate(req)
	switch {
	case errors.Is(err, account.ErrToken):
		a.refused.Take(from, now)
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, problem{err.Error()})
		return who, false
	case err != nil:
		a.fail(w, err)
		return who, false
	}
	if wait, ok := a.requests.Take(who.Name, now); !ok {
		a.tooMany(w, wait, "too many requests of this token")
		return who, false
	}
	return who, true
}

func (a *API) tooMany(w http.ResponseWriter, wait time.Duration, text string) {
	limit.RetryAfter(w.Header(), wait)
	answer(w, http.StatusTooManyRequests, problem{text})
}

// address is where a request comes from, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (a *API) authenticate(r *http.Request) (account.Principal, error) {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(secret) > 200 {
		return account.Principal{}, account.ErrToken
	}
	return a.parts.Tokens.Token(r.Context(), secret)
}

// badRequest is an error of the one who asks.
type badRequest struct{ error }

func (a *API) fail(w http.ResponseWriter, err error) {
	var bad badRequest
	var invalid triage.Invalid
	var unfit reports.Invalid
	switch {
	case errors.Is(err, reports.ErrBusy):
		a.tooMany(w, time.Minute, err.Error())
	case errors.Is(err, reports.ErrNotReady):
		limit.RetryAfter(w.Header(), 5*time.Second)
		answer(w, http.StatusConflict, problem{err.Error()})
	case errors.Is(err, store.ErrNotFound):
		answer(w, http.StatusNotFound, problem{"not found"})
	case errors.As(err, &bad), errors.As(err, &invalid), errors.As(err, &unfit), errors.Is(err, store.ErrCursor):
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
