// Package admin is the collector's Unix socket: what an operator on its host may
// do, without a password, as root or as the collector's own user.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"sallyport/collector/account"
	"sallyport/collector/export"
	"sallyport/collector/feeds"
	"sallyport/collector/fleet"
	"sallyport/collector/identity"
	"sallyport/collector/packs"
	"sallyport/collector/store"
	"sallyport/collector/triage"
)

// Server answers the operator's commands.
type Server struct {
	Store     *store.Store
	Identity  *identity.Service
	Accounts  *account.Accounts
	Fleet     *fleet.Fleet
	Exporters *export.Runner
	Triage    *triage.Desk
	Packs     *packs.Packs
	Feeds     *feeds.Runner
	URL       string // where agents reach the collector
	Backup    func(ctx context.Context, path string) error
	Logger    hclog.Logger
}

// maxRequest bounds a request, in bytes.
const maxRequest = 64 << 10

// Listen opens the socket. A socket that a killed collector left is removed.
func Listen(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("open admin socket: another collector runs on %s", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("protect admin socket: %w", err), l.Close())
	}
	return owners{l}, nil
}

// owners takes connections of root and of our own user only. The file's mode
// says so too; this holds where a folder's mode was changed.
type owners struct{ net.Listener }

func (o owners) Accept() (net.Conn, error) {
	for {
		c, err := o.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if peerAllowed(c) {
			return c, nil
		}
		c.Close()
	}
}

func peerAllowed(c net.Conn) bool {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || credErr != nil {
		return false
	}
	return cred.Uid == 0 || int(cred.Uid) == os.Geteuid()
}

// Handler is the operator's API. Bodies and answers are JSON.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tokens", handle(s, s.createToken))
	mux.HandleFunc("GET /tokens", handle(s, func(r *http.Request) (any, error) { return s.Store.Tokens(r.Context()) }))
	mux.HandleFunc("DELETE /tokens/{id}", handle(s, func(r *http.Request) (any, error) {
		return nil, s.Store.RevokeToken(r.Context(), r.PathValue("id"), time.Now())
	}))
	mux.HandleFunc("GET /agents", handle(s, func(r *http.Request) (any, error) {
		agents, err := s.Fleet.Agents(r.Context(), time.Now())
		return fleet.Labelled(agents, r.URL.Query()["label"]), err
	}))
	mux.HandleFunc("PUT /agents/{name}/labels", handle(s, s.label))
	mux.HandleFunc("DELETE /agents/{name}", handle(s, func(r *http.Request) (any, error) {
		return s.Identity.RevokeAgent(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("POST /agents/{name}/readmission", handle(s, func(r *http.Request) (any, error) {
		return s.Identity.Readmit(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("GET /findings", handle(s, s.findings))
	mux.HandleFunc("GET /findings/{agent}/{id}/evidence", s.evidence)
	mux.HandleFunc("PUT /findings/{agent}/{id}/legal-hold", handle(s, func(r *http.Request) (any, error) { return nil, s.hold(r, true) }))
	mux.HandleFunc("DELETE /findings/{agent}/{id}/legal-hold", handle(s, func(r *http.Request) (any, error) { return nil, s.hold(r, false) }))
	mux.HandleFunc("GET /findings/{agent}/{id}/triage", handle(s, func(r *http.Request) (any, error) {
		return s.Store.DecisionsOf(r.Context(), r.PathValue("agent"), r.PathValue("id"))
	}))
	mux.HandleFunc("POST /findings/{agent}/{id}/triage", handle(s, s.decide))
	mux.HandleFunc("GET /users", handle(s, func(r *http.Request) (any, error) { return s.Store.Users(r.Context()) }))
	mux.HandleFunc("POST /users", handle(s, s.addUser))
	mux.HandleFunc("POST /users/{name}/password", handle(s, func(r *http.Request) (any, error) {
		password, err := s.Accounts.ResetPassword(r.Context(), r.PathValue("name"))
		return Secret{password}, err
	}))
	mux.HandleFunc("DELETE /users/{name}", handle(s, func(r *http.Request) (any, error) {
		return nil, s.Store.RemoveUser(r.Context(), r.PathValue("name"))
	}))
	mux.HandleFunc("GET /api-tokens", handle(s, func(r *http.Request) (any, error) { return s.Store.APITokens(r.Context()) }))
	mux.HandleFunc("POST /api-tokens", handle(s, s.addAPIToken))
	mux.HandleFunc("DELETE /api-tokens/{name}", handle(s, func(r *http.Request) (any, error) {
		return nil, s.Store.RevokeAPIToken(r.Context(), r.PathValue("name"), time.Now())
	}))
	mux.HandleFunc("GET /exporters", handle(s, func(r *http.Request) (any, error) { return s.Exporters.Status(r.Context()) }))
	mux.HandleFunc("GET /parked", handle(s, s.parked))
	mux.HandleFunc("POST /parked/{exporter}", handle(s, func(r *http.Request) (any, error) {
		return s.Store.Resend(r.Context(), r.PathValue("exporter"))
	}))
	mux.HandleFunc("GET /ca", handle(s, func(r *http.Request) (any, error) { return s.Identity.Authority(r.Context()) }))
	mux.HandleFunc("GET /ca/certificate", handle(s, func(*http.Request) (any, error) { return s.Identity.CA().PEM(), nil }))
	mux.HandleFunc("POST /ca/rotate", handle(s, func(r *http.Request) (any, error) { return s.Identity.RotateCA(r.Context()) }))
	mux.HandleFunc("POST /ca/retire", handle(s, func(r *http.Request) (any, error) { return s.Identity.RetireCA(r.Context()) }))
	mux.HandleFunc("POST /backup", handle(s, s.backup))
	s.packRoutes(mux)
	return mux
}

// NewToken is a new enrolment token; Text is what an agent is given.
type NewToken struct {
	store.Token
	Text string `json:"text"`
}

// Secret is shown once.
type Secret struct {
	Secret string `json:"secret"`
}

// Principal is a new user or API token.
type Principal struct {
	Name     string        `json:"name"`
	Role     string        `json:"role"`
	Evidence bool          `json:"evidence"`
	Life     time.Duration `json:"life,omitempty"` // of an API token
}

// Path names a file on the collector's host.
type Path struct {
	Path string `json:"path"`
}

func (s *Server) createToken(r *http.Request) (any, error) {
	req, err := decode[identity.TokenRequest](r)
	if err != nil {
		return nil, err
	}
	if req.URL == "" {
		req.URL = s.URL
	}
	t, text, err := s.Identity.CreateToken(r.Context(), req)
	return NewToken{t, text}, err
}

func (s *Server) addUser(r *http.Request) (any, error) {
	req, err := decode[Principal](r)
	if err != nil {
		return nil, err
	}
	password, err := s.Accounts.AddUser(r.Context(), req.Name, req.Role, req.Evidence)
	return Secret{password}, err
}

func (s *Server) addAPIToken(r *http.Request) (any, error) {
	req, err := decode[Principal](r)
	if err != nil {
		return nil, err
	}
	secret, err := s.Accounts.AddAPIToken(r.Context(), req.Name, req.Role, req.Evidence, req.Life)
	return Secret{secret}, err
}

func (s *Server) findings(r *http.Request) (any, error) {
	q, err := store.ParseQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return s.Store.Findings(r.Context(), q)
}

func (s *Server) evidence(w http.ResponseWriter, r *http.Request) {
	agent, id := r.PathValue("agent"), r.PathValue("id")
	e, err := s.Store.Evidence(r.Context(), agent, id)
	if err == nil {
		err = s.Store.LogAccess(r.Context(), store.Access{At: time.Now(), Actor: "admin socket", Action: "read evidence", Subject: agent + "/" + id, Address: "local"})
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-pcapng")
	_, _ = w.Write(e.PCAPNG) // the command was interrupted
}

func (s *Server) parked(r *http.Request) (any, error) {
	limit, err := strconv.Atoi(r.URL.Query().Get("limit"))
	if err != nil || limit < 1 || limit > 10000 {
		limit = 1000
	}
	return s.Store.Parked(r.Context(), r.URL.Query().Get("exporter"), limit)
}

func (s *Server) backup(r *http.Request) (any, error) {
	req, err := decode[Path](r)
	if err != nil {
		return nil, err
	}
	return nil, s.Backup(r.Context(), req.Path)
}

func decode[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("read request: %w", err)
	}
	return v, nil
}

// handle answers with what f returns.
func handle(s *Server, f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		if err != nil {
			s.fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the command was interrupted
	}
}

// failure is an answer that is not 200.
type failure struct {
	Error string `json:"error"`
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	status := http.StatusBadRequest
	if errors.Is(err, store.ErrNotFound) || notFound(err) {
		status = http.StatusNotFound
	}
	s.Logger.Warn("command refused", "error", err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(failure{err.Error()})
}
