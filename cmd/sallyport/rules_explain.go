package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/rules"
)

// maxFinding bounds a finding read from a file.
const maxFinding = 16 << 20

func newRulesExplain(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "explain FINDING.json",
		Short: `Tell the story of a finding: what was seen, what met it, and why this severity ("-" reads stdin)`,
		Example: `  sallyport rules explain finding.json
  tail -n 1 /var/lib/sallyport/findings.jsonl | sallyport rules explain -`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := readFinding(args[0], env.stdin)
			if err != nil {
				return fmt.Errorf("explain %s: %w", args[0], err)
			}
			_, err = io.WriteString(env.stdout, explain(f))
			return err
		},
	}
}

func readFinding(path string, stdin io.Reader) (*rules.Finding, error) {
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		stdin = file
	}
	data, err := io.ReadAll(io.LimitReader(stdin, maxFinding))
	if err != nil {
		return nil, err
	}
	var f rules.Finding
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	return &f, f.Validate()
}

// explain tells a finding in the order in which a reader asks.
func explain(f *rules.Finding) string {
	var b strings.Builder
	o := &f.Observation
	fmt.Fprintf(&b, "%s\n", plain(f.Title))
	fmt.Fprintf(&b, "  severity %s, confidence %s, %s, revision %d%s%s\n", f.Severity, plain(f.Confidence), f.State, f.Revision, ifSet(f.Test, ", TEST DATA"), ifSet(f.Retro, ", matched in the host's history"))
	fmt.Fprintf(&b, "  id %s\n\nWhat was seen\n", plain(f.ID))
	fmt.Fprintf(&b, "  host %s, %s flow over %s, %s\n", plain(o.Host), plain(string(o.Direction)), plain(string(o.Transport)), strings.ReplaceAll(plain(string(o.Outcome)), "_", " "))
	fmt.Fprintf(&b, "  local %s, remote %s%s\n", endpoint(o.Local), endpoint(o.Remote), asked(o))
	fmt.Fprintf(&b, "  %d flows from %s to %s\n", f.Count, f.First.UTC().Format(time.RFC3339), f.Last.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "  protocol %s%s%s\n", plain(o.Identification.Protocol), label(", ", o.Identification.State), label(": ", o.Identification.Evidence))
	writeOwner(&b, &o.Owner)
	for _, note := range o.Notes {
		fmt.Fprintf(&b, "  note: %s\n", plain(note))
	}
	fmt.Fprintf(&b, "\nWhat met it\n")
	if len(f.Matches) == 0 {
		fmt.Fprintf(&b, "  no indicator: the detection is about any flow\n")
	}
	for i := range f.Matches {
		fmt.Fprintf(&b, "  %s %s\n", plain(f.Matches[i].Field), plain(f.Matches[i].Value))
		writeMatch(&b, &f.Matches[i])
	}
	fmt.Fprintf(&b, "\nWhich detection\n  %s (%s)%s\n", plain(f.Rule.Title), plain(f.Rule.ID), label(", ", strings.Join(f.Rule.Tags, " ")))
	fmt.Fprintf(&b, "\nWhy this severity\n")
	for _, why := range f.Why {
		fmt.Fprintf(&b, "  - %s\n", plain(why))
	}
	if s := f.Suppressed; s != nil {
		fmt.Fprintf(&b, "\nSuppressed by the %s until %s: %s (%s)\n", strings.ReplaceAll(plain(s.By), "_", " "), plain(s.Until), plain(s.Reason), plain(s.Author))
	}
	fmt.Fprintf(&b, "\nA finding is a lead: an address is not an entity, and a contact by itself is no blocked or rejected transaction.\n")
	return b.String()
}

func endpoint(e rules.Endpoint) string {
	if e.Port == 0 {
		return e.Addr.String()
	}
	return fmt.Sprintf("%s port %d", e.Addr, e.Port)
}

func asked(o *rules.Observation) string {
	var s string
	if o.RemoteAsked != nil {
		s = ", asked for as " + endpoint(*o.RemoteAsked)
	}
	if h := o.Hidden; h != nil {
		s += ", through a proxy to " + plain(h.Host)
		if h.Addr.IsValid() {
			s += h.Addr.String()
		}
	}
	for _, n := range o.Names {
		s += fmt.Sprintf(", named %s (%s)", plain(n.Name), plain(n.Source))
	}
	return s
}

func writeOwner(b *strings.Builder, o *rules.Owner) {
	if o.Process == nil {
		fmt.Fprintf(b, "  owner unknown\n")
		return
	}
	p := o.Process
	fmt.Fprintf(b, "  owner %s%s, pid %d, user %s (%d), attribution %s%s\n", plain(p.Executable), label(" ", p.Name), p.PID, plain(p.User), p.UID, o.Attribution, label(", an intermediary: ", o.Intermediary))
	if len(p.Args) > 0 {
		fmt.Fprintf(b, "  arguments: %s\n", plain(strings.Join(p.Args, " ")))
	}
	if c := o.Container; c != nil {
		fmt.Fprintf(b, "  container %s%s%s\n", plain(c.ID), label(", pod ", strings.TrimPrefix(c.Namespace+"/"+c.Pod, "/")), label(", image ", c.Image))
	}
}
