package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// syslogConn is a connection to a syslog receiver.
type syslogConn struct {
	net.Conn
	tcp    *net.TCPConn  // below TLS; nil over UDP
	closed chan struct{} // when the receiver has closed a stream
	settle time.Duration // to wait after the first batch
}

// settleTLS is how long the first batch of a TLS connection waits for the
// receiver's refusal: in TLS 1.3 our side is through before the receiver has
// looked at our certificate.
const settleTLS = 500 * time.Millisecond

func dialSyslog(ctx context.Context, cfg syslogSettings) (*syslogConn, error) {
	c := &syslogConn{closed: make(chan struct{})}
	if cfg.Transport == "tls" {
		conn, err := cfg.TLS.dial(ctx, cfg.Address)
		if err != nil {
			return nil, err
		}
		c.Conn, c.tcp, c.settle = conn, conn.NetConn().(*net.TCPConn), settleTLS
	} else {
		conn, err := (&net.Dialer{}).DialContext(ctx, cfg.Transport, cfg.Address)
		if err != nil {
			return nil, err
		}
		c.Conn = conn
		c.tcp, _ = conn.(*net.TCPConn)
	}
	if c.tcp != nil {
		go c.watch()
	}
	return c, nil
}

// watch reads, although a receiver says nothing: this is how an end, or TLS's
// refusal of our certificate, is noticed.
func (c *syslogConn) watch() {
	defer close(c.closed)
	_, _ = io.Copy(io.Discard, c.Conn) // whatever its error, the connection is at its end
}

// gone says that the receiver has closed the stream.
func (c *syslogConn) gone() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *syslogConn) close() error {
	if err := c.Conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}

func (c *syslogConn) send(ctx context.Context, messages [][]byte) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetWriteDeadline(deadline); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetWriteDeadline(time.Now()) })
	defer stop()
	if c.tcp == nil {
		for _, m := range messages {
			if _, err := c.Write(m); err != nil {
				return err
			}
		}
		return nil
	}
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
	}
	if _, err := c.Write(all); err != nil {
		return err
	}
	return c.drained(ctx)
}

// drainPoll is how often the kernel is asked for what is not acknowledged yet.
const drainPoll = 5 * time.Millisecond

// drained waits until the receiver's kernel has acknowledged every byte, and the
// stream still stands: what lies in our own send buffer is lost with either end.
func (c *syslogConn) drained(ctx context.Context) error {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for {
		left, err := c.unsent()
		if err != nil {
			return err
		}
		if left == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-c.closed:
			return errors.New("the receiver closed the connection")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	select {
	case <-c.closed:
	case <-time.After(c.settle):
	}
	c.settle = 0
	if c.gone() {
		return errors.New("the receiver closed the connection")
	}
	return nil
}

// unsent is how many bytes the receiver's kernel has not acknowledged, tcp(7)
// SIOCOUTQ.
func (c *syslogConn) unsent() (int, error) {
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	left, failure := 0, error(nil)
	if err := raw.Control(func(fd uintptr) { left, failure = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0, err
	}
	return left, failure
}
