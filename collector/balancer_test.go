package collector

import (
	"io"
	"net"
	"sync"
	"testing"
)

// balancer is a TCP balancer before several collectors: it takes them in turn
// and passes over those that do not answer.
type balancer struct {
	listener net.Listener
	at       place // from where it reaches the targets

	mu      sync.Mutex
	targets []string
	next    int
}

func startBalancer(t testing.TB, at place, targets ...string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: l, at: at, targets: targets}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.join(c)
		}
	}()
	return b
}

func (b *balancer) address() string { return b.listener.Addr().String() }

// set says where a collector that was restarted listens now.
func (b *balancer) set(i int, target string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets[i] = target
}

func (b *balancer) dial() net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.targets {
		b.next = (b.next + 1) % len(b.targets)
		if c, err := b.at.Dial("tcp", b.targets[b.next]); err == nil {
			return c
		}
	}
	return nil
}

func (b *balancer) join(in net.Conn) {
	defer in.Close()
	out := b.dial()
	if out == nil {
		return
	}
	defer out.Close()
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		go func() {
			io.Copy(pair[0], pair[1]) // an error means that one side has ended
			ended <- struct{}{}
		}()
	}
	<-ended
}
