package agent

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// What a service manager is told, sd_notify(3).
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
	notifyAlive    = "WATCHDOG=1"
)

// manager is the service manager that started this process. The zero manager is
// none: an agent that somebody starts by hand tells nobody.
type manager struct {
	socket string
	every  time.Duration // between signs of life; 0: it wants none
}

// serviceManager reads what sd_notify(3) and sd_watchdog_enabled(3) say is in the
// environment.
func serviceManager() manager {
	m := manager{socket: os.Getenv("NOTIFY_SOCKET")}
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return m
	}
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
		m.every = time.Duration(us) * time.Microsecond / 2 // as sd_watchdog_enabled(3) advises
	}
	return m
}

// tell sends one state.
func (m manager) tell(state string) error {
	if m.socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", m.socket) // net, too, takes @ for an abstract name
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
