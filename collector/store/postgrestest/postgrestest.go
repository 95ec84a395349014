// Package postgrestest gives tests a PostgreSQL of their own.
package postgrestest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sallyport/agent/testenv"
)

// Server is a cluster of a test's own, on a Unix socket.
type Server struct {
	DSN string

	command  func(name string, args ...string) *exec.Cmd
	data     string
	settings []string
	process  *exec.Cmd
}

// Start starts a cluster and gives its connection string. The test is skipped
// where there is no PostgreSQL.
func Start(t testing.TB) string { return New(t).DSN }

// New makes and starts a cluster, with settings as "name=value" beside its own. PostgreSQL refuses to run as root, so it runs
// as nobody then.
func New(t testing.TB, settings ...string) *Server {
	t.Helper()
	initdb := testenv.Tool(t, "initdb")
	folder, err := os.MkdirTemp("/tmp", "sppg") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	credential := unprivileged(t, folder)
	s := &Server{settings: settings, DSN: fmt.Sprintf("host=%s user=sallyport dbname=postgres sslmode=disable", folder), data: filepath.Join(folder, "data")}
	s.command = func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir = folder
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential, Setpgid: true}
		return cmd
	}
	if out, err := s.command(initdb, "-D", s.data, "-U", "sallyport", "-A", "trust", "-E", "UTF8", "--locale=C", "-N").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.Run(t)
	t.Cleanup(s.Kill)
	return s
}

// unprivileged says as whom PostgreSQL runs, and gives them the folder.
func unprivileged(t testing.TB, folder string) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("no unprivileged user: %v", err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	if err := os.Chown(folder, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Kill ends the server and all its processes with SIGKILL. What it has written
// stays, since the machine goes on.
func (s *Server) Kill() {
	syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL) // an error means that it has ended
	s.process.Wait()
}

// Run starts the server, or starts it again after Kill, and waits for it.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args := []string{"-D", s.data, "-k", filepath.Dir(s.data)}
	for _, x := range append([]string{"listen_addresses=", "fsync=off", "shared_buffers=16MB"}, s.settings...) {
		args = append(args, "-c", x) // the last one counts
	}
	s.process = s.command(testenv.Tool(t, "postgres"), args...)
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), s.DSN)
		if err == nil {
			conn.Close(t.Context())
			return
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("PostgreSQL did not start: %v\n%s", err, text)
		}
	}
}
