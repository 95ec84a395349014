// Package selftest proves a running agent: it opens a real RDP connection to a
// documentation address that the shipped test entity holds, inside network
// namespaces of its own, and reads the finding back from the agent.
package selftest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"sallyport/rules"
)

// handshakeLimit bounds the connection itself.
const handshakeLimit = 10 * time.Second

// pollEvery is how often the agent is asked for the finding.
const pollEvery = 100 * time.Millisecond

// ErrNoFinding means that the connection was made and the agent reported
// nothing in time.
var ErrNoFinding = errors.New("the connection was made, but the agent reported no finding for it")

// Findings reads the agent's newest findings.
type Findings interface {
	Findings(ctx context.Context) ([]rules.Finding, error)
}

// Result is what the self-test proved.
type Result struct {
	Remote  netip.AddrPort `json:"remote"`
	After   time.Duration  `json:"after"` // from the connection's first packet to the finding, nanoseconds
	Finding rules.Finding  `json:"finding"`
}

// Run makes the connection to the test remote on port and waits for its finding
// until ctx ends.
func Run(ctx context.Context, agent Findings, port uint16) (Result, error) {
	remote := netip.AddrPortFrom(remoteAddr.Addr(), port)
	start := time.Now()
	if err := contact(ctx, remote); err != nil {
		return Result{}, fmt.Errorf("make the test connection to %s: %w", remote, err)
	}
	f, err := await(ctx, agent, remote, start)
	return Result{Remote: remote, After: time.Since(start), Finding: f}, err
}

// contact makes the namespaces and the connection, and takes both down again.
func contact(ctx context.Context, remote netip.AddrPort) error {
	client, err := newNamespace()
	if err != nil {
		return err
	}
	defer client.close()
	server, err := newNamespace()
	if err != nil {
		return err
	}
	defer server.close()
	if err := link(client, server); err != nil {
		return err
	}
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	var listener net.Listener
	if err := server.do(func() (err error) { listener, err = net.Listen("tcp", remote.String()); return err }); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() { served <- serve(listener, certificate) }()
	if err := client.do(func() error { return connect(ctx, remote) }); err != nil {
		listener.Close()
		return errors.Join(err, <-served)
	}
	return <-served
}

func await(ctx context.Context, agent Findings, remote netip.AddrPort, since time.Time) (rules.Finding, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		found, err := agent.Findings(ctx)
		if err != nil && ctx.Err() == nil {
			return rules.Finding{}, fmt.Errorf("read the agent's findings: %w", err)
		}
		for _, f := range found {
			if proves(f, remote, since) {
				return f, nil
			}
		}
		select {
		case <-ctx.Done():
			return rules.Finding{}, ErrNoFinding
		case <-tick.C:
		}
	}
}

// proves says whether the finding is about this run's connection and is right in
// what the test knows: remote, owner and protocol.
func proves(f rules.Finding, remote netip.AddrPort, since time.Time) bool {
	o := f.Observation
	return f.Test &&
		!o.Last.Before(since.Add(-time.Second)) &&
		o.Remote.Addr == remote.Addr() && o.Remote.Port == remote.Port() &&
		o.Direction == rules.Outbound &&
		o.Identification.Protocol == "rdp" && o.Identification.State == "confirmed" &&
		o.Owner.Process != nil && int(o.Owner.Process.PID) == os.Getpid()
}
