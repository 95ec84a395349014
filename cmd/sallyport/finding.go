package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent"
	"sallyport/agent/flow"
	"sallyport/rules"
)

// printFinding prints a finding for a person.
func printFinding(w io.Writer, f *rules.Finding) error {
	o := &f.Observation
	p := &linePrinter{w: w}
	test := ""
	if f.Test {
		test = " [test]"
	}
	p.line("%s%s", f.Title, test)
	p.line("  severity   %s, confidence %s (a lead, not a verdict)", f.Severity, f.Confidence)
	p.line("  flow       %s %s, local %s, remote %s, %s", o.Direction, o.Transport, endpoint(o.Local), endpoint(o.Remote), o.Outcome)
	if o.RemoteAsked != nil {
		p.line("  asked for  %s", endpoint(*o.RemoteAsked))
	}
	if id := o.Identification; id.Protocol != "none" {
		p.line("  protocol   %s, %s: %s", id.Protocol, id.State, id.Evidence)
	}
	p.line("  owner      %s", ownerLine(&o.Owner))
	for i := range f.Matches {
		p.line("  match      %s", f.Matches[i].Statement)
	}
	for _, why := range f.Why {
		p.line("  why        %s", why)
	}
	p.line("  seen       %s to %s, %d flows", f.First.Format(time.RFC3339), f.Last.Format(time.RFC3339), f.Count)
	p.line("  id         %s revision %d", f.ID, f.Revision)
	return p.err
}

func ownerLine(o *rules.Owner) string {
	if o.Process == nil {
		return "unknown"
	}
	name := o.Process.Executable
	if name == "" {
		name = o.Process.Name
	}
	text := fmt.Sprintf("%s, pid %d, user %s (%s)", name, o.Process.PID, o.Process.User, o.Attribution)
	if c := o.Container; c != nil && c.ID != "" {
		text += ", container " + c.ID
	}
	return text
}

// openFindings is the findingsOpener of a build with rules.
func openFindings(config string) (captureFindings, error) {
	cfg, err := loadConfig(config)
	if err != nil {
		return nil, err
	}
	c, err := agent.OpenCaptures(cfg, version, hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	return agentFindings{c, cfg.Flow}, nil
}

// agentFindings judges captures as the agent of a configuration would.
type agentFindings struct {
	*agent.Captures
	flow flow.Config
}

// flows are the agent's own settings, with a capture's memory.
func (a agentFindings) flows() flow.Config {
	cfg, replay := a.flow, flow.ReplayConfig()
	cfg.MaxFlows, cfg.MaxBytes = max(cfg.MaxFlows, replay.MaxFlows), max(cfg.MaxBytes, replay.MaxBytes)
	return cfg
}

func (a agentFindings) sink(ctx context.Context, capture, format string, out io.Writer) replaySink {
	return &findingPrinter{a.Replay(ctx, capture), capture, format, out}
}

type findingPrinter struct {
	*agent.Replay
	capture, format string
	out             io.Writer
}

var _ flow.Sink = (*findingPrinter)(nil)

// Done prints the capture's findings.
func (p *findingPrinter) Done() error {
	encoder := json.NewEncoder(p.out)
	for _, f := range p.Findings() {
		f.Observation.Capture = p.capture
		err := error(nil)
		if p.format == "json" {
			err = encoder.Encode(f)
		} else {
			err = printFinding(p.out, &f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
