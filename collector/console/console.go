// Package console is the web page for people: rendered here, without script,
// without anything from elsewhere.
package console

import (
	"context"
	"embed"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
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

//go:embed templates/*.html static/style.css
var files embed.FS

// Store is what is shown.
type Store interface {
	Findings(context.Context, store.Query) (store.Page, error)
	Finding(ctx context.Context, agent, id string) (store.Finding, error)
	Revisions(ctx context.Context, agent, id string, limit int) ([]store.Revision, error)
	Evidence(ctx context.Context, agent, id string) (store.Evidence, error)
	EvidenceFacts(ctx context.Context, agent, id string) (store.Evidence, error)
	DecisionsOf(ctx context.Context, agent, id string) ([]store.Decision, error)
	SetLegalHold(ctx context.Context, agent, id string, hold bool) error
	LogAccess(context.Context, store.Access) error
	AccessLog(ctx context.Context, limit int) ([]store.Access, error)
	Parked(ctx context.Context, exporter string, limit int) ([]store.Parked, error)
	Counts(context.Context) (store.Counts, error)
}

// Fleet knows the agents.
type Fleet interface {
	Agents(context.Context, time.Time) ([]fleet.Agent, error)
	Agent(ctx context.Context, name string, now time.Time) (fleet.Agent, error)
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
	List() []reports.Report
	Open(id, format string) (*os.File, reports.Report, error)
}

// Parts are what the console shows.
type Parts struct {
	Store     Store
	Fleet     Fleet
	Exporters Exporters
	Desk      Desk
	Accounts  Accounts
	Packs     Packs
	Reports   Reports
	Limits    []limit.Bound // that are in force
}

// Accounts say who is there.
type Accounts interface {
	Admit(account.Session) (wait time.Duration, ok bool)
	SignIn(ctx context.Context, name, password, address string) (string, error)
	Session(ctx context.Context, secret string) (account.Session, error)
	SignOut(context.Context, account.Session) error
	ChangePassword(ctx context.Context, s account.Session, old, password string) (string, error)
	Provider() string
	PasswordsAllowed() bool
	BeginSignOn(ctx context.Context, address string) (string, account.Attempt, error)
	FinishSignOn(ctx context.Context, a account.Attempt, query url.Values, address string) (string, error)
	SignOutURL(account.Session) string
}

// Console serves the pages.
type Console struct {
	parts   Parts
	version string
	logger  hclog.Logger
	pages   pages
}

// New reads the templates.
func New(p Parts, version string, logger hclog.Logger) (*Console, error) {
	read, err := parsePages()
	if err != nil {
		return nil, err
	}
	return &Console{parts: p, version: version, logger: logger.Named("console"), pages: read}, nil
}

// Handler serves the console at the root.
func (c *Console) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /static/style.css", style)
	mux.HandleFunc("GET /signin", c.showSignIn)
	mux.HandleFunc("POST /signin", c.signIn)
	mux.HandleFunc("GET /signin/oidc", c.beginSignOn)
	mux.HandleFunc("GET "+account.OIDCCallback, c.finishSignOn)
	mux.Handle("POST /signout", c.signedIn("", c.signOut))
	mux.Handle("GET /password", c.signedIn("", c.showPassword))
	mux.Handle("POST /password", c.signedIn("", c.changePassword))
	mux.Handle("GET /{$}", c.signedIn("", func(w http.ResponseWriter, r *http.Request, _ account.Session) error {
		http.Redirect(w, r, "/findings", http.StatusSeeOther)
		return nil
	}))
	mux.Handle("GET /findings", c.signedIn(account.ReadFindings, c.findings))
	mux.Handle("GET /findings/{agent}/{id}", c.signedIn(account.ReadFindings, c.finding))
	mux.Handle("GET /findings/{agent}/{id}/evidence", c.signedIn(account.ReadEvidence, c.evidence))
	mux.Handle("POST /findings/{agent}/{id}/hold", c.signedIn(account.SetHold, c.hold))
	mux.Handle("POST /findings/{agent}/{id}/triage", c.signedIn(account.Decide, c.decide))
	mux.Handle("GET /agents", c.signedIn(account.ReadAgents, c.agents))
	mux.Handle("GET /agents/{agent}", c.signedIn(account.ReadAgents, c.agent))
	mux.Handle("GET /exporters", c.signedIn(account.ReadExporters, c.exporterList))
	mux.Handle("GET /packs", c.signedIn(account.ReadAgents, c.packList))
	mux.Handle("GET /record", c.signedIn(account.ReadRecord, c.record))
	mux.Handle("POST /record", c.signedIn(account.ReadRecord, c.askReport))
	mux.Handle("GET /record/{report}/{format}", c.signedIn(account.ReadRecord, c.reportDocument))
	mux.Handle("GET /limits", c.signedIn(account.ReadAgents, c.limitList))
	mux.Handle("GET /access", c.signedIn(account.ReadAccessLog, c.access))
	return headers(http.NewCrossOriginProtection().Handler(mux))
}

// headers keep a page from running or loading anything that is not ours.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func style(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, files, "static/style.css")
}

// page is a handler for somebody who is signed in.
type page func(http.ResponseWriter, *http.Request, account.Session) error

// signedIn finds out who asks, and whether they may.
func (c *Console) signedIn(needs account.Permission, next page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := c.session(r)
		switch {
		case errors.Is(err, account.ErrSession):
			http.Redirect(w, r, "/signin", http.StatusSeeOther)
			return
		case err != nil:
			c.fail(w, r, account.Session{}, err)
			return
		}
		if wait, ok := c.parts.Accounts.Admit(s); !ok {
			limit.RetryAfter(w.Header(), wait)
			c.fail(w, r, s, refusal{http.StatusTooManyRequests, "You ask too often. Wait a moment."})
			return
		}
		switch {
		case s.MustChange && r.URL.Path != "/password" && r.URL.Path != "/signout":
			http.Redirect(w, r, "/password", http.StatusSeeOther)
			return
		case r.Method == http.MethodPost && !sameSecret(r.PostFormValue("csrf"), s.CSRF):
			err = refusal{http.StatusForbidden, "This form is out of date. Go back, load the page again and repeat."}
		case needs != "" && !s.May(needs):
			err = refusal{http.StatusForbidden, "You may not " + string(needs) + ". An administrator can change that."}
		default:
			err = next(w, r, s)
		}
		if err != nil {
			c.fail(w, r, s, err)
		}
	})
}

// refusal is an answer for the person.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func (c *Console) fail(w http.ResponseWriter, r *http.Request, s account.Session, err error) {
	var told refusal
	switch {
	case errors.As(err, &told):
	case errors.Is(err, store.ErrNotFound):
		told = refusal{http.StatusNotFound, "There is nothing here. It may have been removed with age."}
	default:
		c.logger.Error("page not shown", "path", r.URL.Path, "error", err)
		told = refusal{http.StatusInternalServerError, "The collector cannot show this now; its log says why."}
	}
	c.render(w, told.status, "error", s, told.text)
}

// address is where a request comes from, without the port.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
