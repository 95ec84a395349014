package agent

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestServiceManagerIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	m := serviceManager()
	if m.every != 30*time.Second {
		t.Errorf("a sign of life every %s, want half of the watchdog's time", m.every)
	}
	if err := m.tell(notifyReady); err != nil {
		t.Fatal(err)
	}
	l.SetReadDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, 64)
	n, err := l.Read(got)
	if err != nil || string(got[:n]) != "READY=1" {
		t.Errorf("the manager heard %q, %v", got[:n], err)
	}
	l.Close()
	if err := m.tell(notifyReady); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}

func TestNoServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "60000000")
	t.Setenv("WATCHDOG_PID", "1")
	m := serviceManager()
	if m.every != 0 {
		t.Error("another process's watchdog is taken for ours")
	}
	if err := m.tell(notifyReady); err != nil {
		t.Error(err)
	}
}
