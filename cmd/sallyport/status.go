package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"sallyport/agent/control"
	"sallyport/rules"
)

func newStatus(env environment) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the running agent says of itself",
		Example: `  sallyport status
  sallyport status -o json | jq .spool`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "format: text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		h, err := control.NewClient(cfg.StateDir).Status(cmd.Context())
		if err != nil {
			return err
		}
		return printAs(env.stdout, format, h, func(w io.Writer) error { return printStatus(w, &h) })
	}
	return cmd
}

// printAs prints v as JSON or by text.
func printAs(w io.Writer, format string, v any, text func(io.Writer) error) error {
	switch format {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "text":
		return text(w)
	}
	return fmt.Errorf("output format %q: use text or json", format)
}

func printStatus(w io.Writer, h *rules.Heartbeat) error {
	p := &linePrinter{w: w}
	p.line("agent      %s, version %s, up %s", h.Agent, h.Version, h.At.Sub(h.Started).Round(time.Second))
	p.line("kernel     %s", h.Kernel)
	for _, pack := range h.Packs {
		p.line("pack       %s", pack)
	}
	p.line("flows      %d", h.Flows)
	p.line("spool      %d findings wait, %d bytes; next sequence number %d", h.Spool.Findings, h.Spool.Bytes, h.Spool.NextSeq)
	for _, hook := range slices.Sorted(maps.Keys(h.Hooks)) {
		p.line("hook       %-28s %s", hook, h.Hooks[hook])
	}
	for _, d := range h.Degraded {
		p.line("degraded   %s", d)
	}
	for _, kind := range []struct {
		word  string
		count map[string]uint64
	}{{"lost", h.Lost}, {"dropped", h.Dropped}} {
		for _, reason := range slices.Sorted(maps.Keys(kind.count)) {
			p.line("%-10s %-40s %d", kind.word, reason, kind.count[reason])
		}
	}
	return p.err
}

// linePrinter prints lines that are safe for a terminal, and keeps the first
// error.
type linePrinter struct {
	w   io.Writer
	err error
}

func (p *linePrinter) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, plain(fmt.Sprintf(format, args...))+"\n")
	}
}

func newReload(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have the running agent read its rules again",
		Long: `Have the running agent read its packs, entities, detections, allow-list and
approved tools again, without a restart and without a pause. When something cannot
be read or verified, nothing changes and the fault is shown. So it is when fewer
than half of the indicators would be left: where that is right, --force takes them,
and a finding about the agent says who forced it.`,
		Example: `  sallyport reload
  sallyport reload --force`,
		Args: cobra.NoArgs,
	}
	force := cmd.Flags().Bool("force", false, "take a set with less than half of the indicators")
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		changed, err := control.NewClient(cfg.StateDir).Reload(cmd.Context(), *force)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(env.stdout, changed)
		return err
	}
	return cmd
}
