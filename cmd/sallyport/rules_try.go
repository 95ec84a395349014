package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"sallyport/agent"
	"sallyport/agent/flow"
	"sallyport/rules"
)

// ruleTests is the file of `rules test`: observations as events, or captures, and
// the findings each must yield. Paths are relative to the file.
type ruleTests struct {
	Entities   []string   `yaml:"entities,omitempty"`   // files or folders; those that ship when empty
	Detections []string   `yaml:"detections,omitempty"` // Sigma rules; those that ship when empty
	Enable     []string   `yaml:"enable,omitempty"`     // ids of detections that ship switched off
	Allow      string     `yaml:"allow,omitempty"`      // allow-list file
	Approved   string     `yaml:"approved,omitempty"`   // approved-tools file
	Now        time.Time  `yaml:"now,omitempty"`        // what is known as of then; the clock when empty
	Tests      []ruleTest `yaml:"tests"`
}

// ruleTest is one event or one capture, and what must come of it.
type ruleTest struct {
	Name    string             `yaml:"name"`
	Event   *rules.Observation `yaml:"event,omitempty"`   // an observation, with the keys of the finding document
	Capture string             `yaml:"capture,omitempty"` // a capture file, as of sallyport replay
	Local   []string           `yaml:"local,omitempty"`   // of a capture: prefixes of the host's own; else the side that opened a flow
	Expect  []expected         `yaml:"expect"`
}

// expected is one finding; what it leaves empty is not compared.
type expected struct {
	Rule       string         `yaml:"rule"` // id or title
	Entity     string         `yaml:"entity,omitempty"`
	Severity   rules.Severity `yaml:"severity,omitempty"`
	Confidence string         `yaml:"confidence,omitempty"`
	Suppressed bool           `yaml:"suppressed,omitempty"`
}

func newRulesTest(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "test FILE...",
		Short: "Run events and captures through entities and detections and compare the findings with those expected",
		Long: `Run unit tests of rules. A file names the entities and detections it is about
(those that ship when it names none), and holds tests: an event, written with the
keys of a finding's observation, or a capture file, and the findings it must yield
and no others. A capture goes the way of live traffic: flow table, identification,
naming, matching. Paths are relative to the file.

Exit status: 0 all passed, 1 some failed, 2 error.`,
		Example: `  sallyport rules test my-tests.yaml

where my-tests.yaml holds:

  entities: [entities/]
  now: 2026-11-27T12:00:00Z
  tests:
    - name: RDP to an attributed remote
      event:
        direction: outbound
        outcome: established
        remote: {addr: 203.0.113.10, port: 8443}
        first: 2026-11-27T11:00:00Z
        last: 2026-11-27T11:05:00Z
        identification: {protocol: rdp, state: confirmed}
      expect:
        - {rule: RDP with an attributed remote, severity: critical}
    - name: nothing in last week's capture
      capture: captures/week.pcapng
      local: [192.0.2.0/24]
      expect: []`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			failed := 0
			for _, path := range args {
				n, err := runRuleTests(cmd.Context(), env.stdout, path)
				if err != nil {
					return fmt.Errorf("test rules: %w", err)
				}
				failed += n
			}
			if failed > 0 {
				return exitError{1}
			}
			return nil
		},
	}
}

func runRuleTests(ctx context.Context, w io.Writer, path string) (failed int, err error) {
	var file ruleTests
	if err := readYAML(path, &file); err != nil {
		return 0, err
	}
	if len(file.Tests) == 0 {
		return 0, fmt.Errorf("%s holds no tests; write them under the key tests", path)
	}
	if file.Now.IsZero() {
		file.Now = time.Now()
	}
	set, judge, err := file.load(filepath.Dir(path))
	if err != nil {
		return 0, err
	}
	for i := range file.Tests {
		t := &file.Tests[i]
		findings, err := t.findings(ctx, filepath.Dir(path), set, judge, file.Now)
		if err != nil {
			return 0, fmt.Errorf("%s: %s: %w", path, t.Name, err)
		}
		if diff := t.compare(findings); len(diff) > 0 {
			failed++
			fmt.Fprintf(w, "FAIL %s: %s\n", plain(path), plain(t.Name))
			for _, line := range diff {
				fmt.Fprintf(w, "  %s\n", plain(line))
			}
		}
	}
	_, err = fmt.Fprintf(w, "%s: %d tests, %d failed\n", plain(path), len(file.Tests), failed)
	return failed, err
}

// findings judges the event, or what is in the capture.
func (t *ruleTest) findings(ctx context.Context, dir string, set *rules.Set, judge *rules.Judge, now time.Time) ([]rules.Finding, error) {
	switch {
	case (t.Event == nil) == (t.Capture == ""):
		return nil, errors.New("give either an event or a capture")
	case t.Event != nil:
		return judge.Findings(t.Event, set.Match(t.Event, now), now), nil
	}
	captures, err := agent.OpenCapturesOf(agent.DefaultConfig(), set, judge, now, hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	defer captures.Close()
	replay := captures.Replay(ctx, judge.Agent.Name)
	var faults strings.Builder
	r, err := newReplayer(environment{strings.NewReader(""), io.Discard, &faults}, replayOptions{format: "json", local: t.Local}, quietFindings{captures, replay})
	if err != nil {
		return nil, err
	}
	if err := r.file(ctx, filepath.Join(dir, t.Capture)); err != nil {
		return nil, err
	}
	if r.failed {
		return nil, errors.New(strings.TrimPrefix(strings.TrimSpace(faults.String()), "sallyport: "))
	}
	return replay.Findings(), nil
}

// quietFindings prints nothing when a capture ends.
type quietFindings struct {
	*agent.Captures
	replay *agent.Replay
}

func (quietFindings) flows() flow.Config { return flow.ReplayConfig() }

func (q quietFindings) sink(context.Context, string, string, io.Writer) replaySink {
	return quietReplay{q.replay}
}

type quietReplay struct{ *agent.Replay }

// Done implements replaySink.
func (quietReplay) Done() error { return nil }

func (f *ruleTests) load(dir string) (*rules.Set, *rules.Judge, error) {
	set, err := loadSet(below(dir, f.Entities))
	if err != nil {
		return nil, nil, err
	}
	list, err := f.detections(dir)
	if err != nil {
		return nil, nil, err
	}
	judge := &rules.Judge{Detections: rules.Enabled(list, f.Enable...), Agent: rules.AgentInfo{Name: "rules-test", Version: version}}
	if f.Allow != "" {
		if judge.Allow, err = rules.LoadAllowList(filepath.Join(dir, f.Allow)); err != nil {
			return nil, nil, err
		}
	}
	if f.Approved != "" {
		if judge.Approved, err = rules.LoadApprovedTools(filepath.Join(dir, f.Approved)); err != nil {
			return nil, nil, err
		}
	}
	return set, judge, nil
}

func (f *ruleTests) detections(dir string) ([]*rules.SigmaRule, error) {
	if len(f.Detections) == 0 {
		return rules.ShippedSigmaRules()
	}
	var list []*rules.SigmaRule
	for _, path := range below(dir, f.Detections) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		rule, err := rules.ParseSigmaRule(path, data, nil)
		if err != nil {
			return nil, err
		}
		list = append(list, rule)
	}
	return list, nil
}

func below(dir string, paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = filepath.Join(dir, p)
	}
	return out
}

// compare pairs findings with expectations and says what is left on each side.
func (t *ruleTest) compare(findings []rules.Finding) []string {
	open := slices.Clone(t.Expect)
	var diff []string
	for i := range findings {
		f := &findings[i]
		at := slices.IndexFunc(open, func(e expected) bool { return e.fits(f) })
		if at < 0 {
			diff = append(diff, "got, not expected: "+describe(f))
			continue
		}
		open = slices.Delete(open, at, at+1)
	}
	for _, e := range open {
		diff = append(diff, fmt.Sprintf("expected, not got: rule %q entity %q severity %q confidence %q suppressed %t", e.Rule, e.Entity, e.Severity, e.Confidence, e.Suppressed))
	}
	sort.Strings(diff)
	return diff
}

func (e *expected) fits(f *rules.Finding) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	return (e.Rule == f.Rule.ID || strings.EqualFold(e.Rule, f.Rule.Title)) && same(e.Entity, entityOf(f)) &&
		same(string(e.Severity), string(f.Severity)) && same(e.Confidence, f.Confidence) && e.Suppressed == (f.Suppressed != nil)
}

func entityOf(f *rules.Finding) string {
	if len(f.Matches) == 0 {
		return ""
	}
	return f.Matches[0].Entity.ID
}

func describe(f *rules.Finding) string {
	return fmt.Sprintf("rule %q entity %q severity %q confidence %q suppressed %t", f.Rule.Title, entityOf(f), f.Severity, f.Confidence, f.Suppressed != nil)
}
