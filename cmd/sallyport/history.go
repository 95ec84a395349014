package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"sallyport/agent/history"
	"sallyport/rules"
)

// historyFlags are the filters as they were typed.
type historyFlags struct {
	file, remote, from, to, output string
	limit                          int
	filter                         history.Filter
}

func newHistory(env environment) *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history",
		Short: "Show this host's past flows",
		Long: `Show the flows that this host remembers. Flows of one hour that share remote,
port, transport and owner are one line. The agent may run meanwhile; what it has
seen in the last half minute may not be written yet.

What is not shown was not seen or has been forgotten: it is no proof that it did
not happen.`,
		Example: `  sallyport history --remote 192.0.2.0/24 --from 720h
  sallyport history --domain example.com -o json`,
		Args: cobra.NoArgs,
	}
	config := configFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.file, "file", "", "the history's `FILE` (default: as configured)")
	flags.StringVar(&f.remote, "remote", "", "`ADDRESS` or prefix of the remote, as it left, as asked for, or named to a proxy")
	flags.StringVar(&f.filter.Domain, "domain", "", "`NAME` of the remote, or any name below it")
	flags.StringVar(&f.filter.Certificate, "certificate", "", "SHA-1 or SHA-256 `HASH` of a certificate the remote showed")
	flags.Uint16Var(&f.filter.Port, "port", 0, "remote `PORT`, or the local one of an inbound flow")
	flags.StringVar(&f.filter.Protocol, "protocol", "", "`LABEL` of the identification, such as rdp")
	flags.StringVar(&f.filter.Executable, "executable", "", "a `PART` of the owner's executable")
	flags.StringVar(&f.from, "from", "", "since `TIME`: 2026-01-31, RFC 3339, or a duration before now such as 24h")
	flags.StringVar(&f.to, "to", "", "until `TIME`, written the same way")
	flags.IntVar(&f.limit, "limit", 1000, "show at most `N` lines, 0 for all")
	flags.StringVarP(&f.output, "output", "o", "text", "`FORMAT`: text or json (one object a line)")
	cmd.MarkFlagsMutuallyExclusive("remote", "domain", "certificate")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.parse(time.Now()); err != nil {
			return err
		}
		cfg := history.DefaultConfig()
		cfg.Path = f.file
		if f.file == "" {
			whole, err := loadConfig(*config)
			if err != nil {
				return err
			}
			cfg = whole.History
			f.file = cfg.Path
		}
		return showHistory(cmd, env, history.New(cfg, hclog.NewNullLogger()), f)
	}
	return cmd
}

// parse reads the flags that are more than text.
func (f *historyFlags) parse(now time.Time) (err error) {
	if f.output != "text" && f.output != "json" {
		return fmt.Errorf("-o %s is unknown: use text or json", plain(f.output))
	}
	if f.limit < 0 {
		return errors.New("--limit is negative: use 0 for all")
	}
	if f.remote != "" {
		if f.filter.Prefix, err = parsePrefix(f.remote); err != nil {
			return err
		}
	}
	if f.filter.From, err = parseTime("--from", f.from, now); err != nil {
		return err
	}
	f.filter.To, err = parseTime("--to", f.to, now)
	return err
}

func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("--remote %s is neither an address nor a prefix", plain(text))
	}
	return p, nil
}

func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %s is no time: use 2026-01-31, RFC 3339, or a duration such as 24h", flag, plain(text))
}

// showHistory prints what the filter finds.
func showHistory(cmd *cobra.Command, env environment, h *history.History, f historyFlags) error {
	shown, more := 0, false
	var failed error
	err := h.Query(cmd.Context(), f.filter, func(p history.Past) bool {
		if f.limit > 0 && shown == f.limit {
			more = true
			return false
		}
		shown++
		failed = printPast(env.stdout, p, f.output)
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	switch {
	case more:
		fmt.Fprintf(env.stderr, "sallyport: there are more than %d lines; see --limit\n", f.limit)
	case shown == 0:
		fmt.Fprintln(env.stderr, "sallyport: no such flow is remembered in", f.file)
	}
	return nil
}

func printPast(w io.Writer, p history.Past, format string) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(struct {
			Count       uint64            `json:"count"`
			Observation rules.Observation `json:"observation"`
		}{p.Count, p.Observation})
	}
	o := p.Observation
	remote, port := o.Remote.Addr.String(), o.Remote.Port
	if o.Direction == rules.Inbound {
		port = o.Local.Port
	}
	var names []string
	for _, n := range o.Names {
		names = append(names, n.Name)
	}
	owner := "owner unknown"
	if o.Owner.Process != nil {
		owner = o.Owner.Process.Executable
		if owner == "" {
			owner = o.Owner.Process.Name
		}
	}
	_, err := fmt.Fprintf(w, "%s  %-8s %s %s port %d  %s  %s  x%d  out %d in %d  %s  %s\n",
		o.Last.UTC().Format("2006-01-02 15:04:05"), o.Direction, o.Transport, remote, port,
		plain(protocolText(o.Identification)), o.Outcome, p.Count, o.BytesOut, o.BytesIn, plain(owner), plain(strings.Join(names, " ")))
	return err
}

func protocolText(i rules.Identification) string {
	if i.Protocol == "" || i.Protocol == "none" {
		return "none"
	}
	return strings.TrimSpace(i.Protocol + " " + i.State)
}
