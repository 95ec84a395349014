// Package control is the agent's Unix socket for the operator on the same host:
// the newest findings, the agent's state, and the order to reload its packs. The
// socket belongs to root alone; nothing listens on the network.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"sallyport/rules"
)

// SocketName is the socket's file name in the agent's state folder.
const SocketName = "agent.sock"

// keptFindings bounds the findings kept for the operator, without their packets:
// some 3 kB each. Those are in the spool and at the destinations.
const keptFindings = 1000

// requestLimit bounds one request's time, reloadLimit that of a reload: packs of
// millions of indicators take a while to read.
const (
	requestLimit = 10 * time.Second
	reloadLimit  = 5 * time.Minute
)

// Agent is what the socket asks of the agent.
type Agent interface {
	Heartbeat() rules.Heartbeat
	// Reload says what changed, in words. by names who forces a set that would be
	// refused for holding too little, "" nobody.
	Reload(ctx context.Context, by string) (string, error)
}

// Server answers on the socket.
type Server struct {
	path  string
	agent Agent
	log   hclog.Logger

	mu     sync.Mutex
	recent []rules.Finding // a ring: next is the oldest
	next   int
}

// NewServer prepares the socket in the state folder.
func NewServer(stateDir string, agent Agent, log hclog.Logger) *Server {
	return &Server{path: filepath.Join(stateDir, SocketName), agent: agent, log: log.Named("control")}
}

// Keep remembers a finding for the operator: of its evidence, that there is some.
func (s *Server) Keep(f rules.Finding) {
	if f.Evidence != nil {
		digest := *f.Evidence
		digest.PCAPNG = nil
		f.Evidence = &digest
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recent) < keptFindings {
		s.recent = append(s.recent, f)
		return
	}
	s.recent[s.next] = f
	s.next = (s.next + 1) % keptFindings
}

// findings gives the kept ones, newest first.
func (s *Server) findings() []rules.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]rules.Finding, 0, len(s.recent))
	for i := range s.recent {
		out = append(out, s.recent[(s.next+len(s.recent)-1-i)%len(s.recent)])
	}
	return out
}

// Run listens until ctx ends. A socket left by an agent that was killed is
// replaced; one that a running agent answers on is an error.
func (s *Server) Run(ctx context.Context) error {
	l, err := listen(s.path)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ConnContext: withPeer, ReadTimeout: requestLimit, WriteTimeout: requestLimit}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.path, err)
	}
	return nil
}

func listen(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("an agent answers on %s already; stop it first, or give this one another state_dir", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("restrict %s: %w", path, err)
	}
	return l, nil
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /findings", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, s.findings()) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, s.agent.Heartbeat()) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(reloadLimit)); err != nil {
			s.log.Debug("a long reload will not be answered", "error", err)
		}
		changed, err := s.agent.Reload(r.Context(), forcedBy(r))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		s.answer(w, changed)
	})
	return mux
}

// forcedBy names who forces a reload, by the kernel's word on the other end of
// the socket; "" where nobody does.
func forcedBy(r *http.Request) string {
	if !r.URL.Query().Has(paramForce) {
		return ""
	}
	if peer, ok := r.Context().Value(peerKey{}).(*unix.Ucred); ok {
		return fmt.Sprintf("user %d on this host (process %d)", peer.Uid, peer.Pid)
	}
	return "an unknown user on this host"
}

// paramForce is the parameter of a reload that is forced.
const paramForce = "force"

// peerKey is the context key of who is at the other end of a connection.
type peerKey struct{}

// withPeer notes who is at the other end (SO_PEERCRED, unix(7)).
func withPeer(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err != nil || failed != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer)
}

func (s *Server) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("answer not taken", "error", err)
	}
}
