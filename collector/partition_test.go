package collector

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"sallyport/agent/testenv"
	"sallyport/collector/store/postgrestest"
)

// healLimit is how long a cut may keep findings from being taken: NATS gives a
// connection that is cut off up after some two minutes without an answer, and one
// election may have to wait for that.
const healLimit = 4 * time.Minute

// postgresAt has PostgreSQL, which listens on a Unix socket, be reached over the
// network at a place, and gives the connection string for that.
func postgresAt(t testing.TB, p place, dsn string) string {
	t.Helper()
	socket := filepath.Join(regexp.MustCompile(`host=(\S+)`).FindStringSubmatch(dsn)[1], ".s.PGSQL.5432")
	var l net.Listener
	var err error
	p.enter(func() { l, err = net.Listen("tcp", p.addr+":5432") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { io.Copy(out, in); out.Close() }() // an error means that one side has ended
				io.Copy(in, out)
			}()
		}
	}()
	return fmt.Sprintf("host=%s user=sallyport dbname=postgres sslmode=disable connect_timeout=5", p.addr)
}

// TestPartition cuts the network of three NATS servers, PostgreSQL and two
// collectors in one place after the other while agents send. Every acknowledged
// revision arrives, and none is counted twice.
func TestPartition(t *testing.T) {
	if testing.Short() {
		t.Skip("three NATS servers and PostgreSQL")
	}
	testenv.Privileged(t)
	const agents, step = 3, 40
	n := newNetwork(t)
	nats := []place{n.place(t), n.place(t), n.place(t)}
	members, database := []place{n.place(t), n.place(t)}, n.place(t)
	cluster := startNATS(t, nats...)
	cluster.from = n.hub
	cluster.whole(t)
	postgres := postgrestest.New(t)
	collectors := startMembers(t, cluster, postgresAt(t, database, postgres.DSN), postgres.DSN, members...)
	balancer := startBalancer(t, n.hub, collectors[0].agents, collectors[1].agents)
	token := collectors[0].site.token(t)
	var senders []*sender
	for i := range agents {
		s := &sender{agent: newAgent(t, balancer.address(), token, fmt.Sprintf("web-%d", i)), moves: true}
		s.agent.timeout = 5 * time.Second
		s.agent.connect()
		senders = append(senders, s)
	}
	stop, running := make(chan struct{}), sync.WaitGroup{}
	for _, s := range senders {
		running.Go(func() { s.run(t, stop) })
	}
	goesOn := func(what string) {
		t.Helper()
		target := total(senders) + step
		began := time.Now()
		within(t, healLimit, "findings taken "+what, func() bool { return total(senders) >= target })
		t.Logf("%s: %d findings after %s", what, step, time.Since(began).Round(100*time.Millisecond))
	}
	all := append([]place{members[0], members[1]}, database)
	goesOn("at first")
	type sides [2][]place
	for _, x := range []struct {
		what   string
		serves bool // some collector can go on
		cuts   []sides
	}{
		{"a NATS server alone", true, []sides{{nats[:1], append(nats[1:3:3], all...)}}},
		{"a NATS server that the collectors see and the others do not", true, []sides{{nats[1:2], {nats[0], nats[2]}}}},
		{"a collector without NATS", true, []sides{{members[:1], nats}}},
		{"a collector and a NATS server on the lesser side", true, []sides{{{members[0], nats[0]}, {members[1], nats[1], nats[2], database}}}},
		{"the collectors without PostgreSQL", true, []sides{{members, {database}}}},
		{"every NATS server alone", false, []sides{{nats[:1], nats[1:]}, {nats[1:2], nats[2:]}}},
		{"the collectors without NATS", false, []sides{{members, nats}}},
	} {
		var heal []func()
		for _, s := range x.cuts {
			heal = append(heal, cut(t, s[0], s[1]))
		}
		if x.serves {
			goesOn("during " + x.what)
		} else {
			time.Sleep(5 * time.Second) // nothing need be taken
		}
		for _, f := range heal {
			f()
		}
		goesOn("after " + x.what)
		cluster.whole(t)
	}
	close(stop)
	running.Wait()
	arrived(t, collectors, senders)
}
