package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent"
	"sallyport/agent/history"
	"sallyport/rules/pack"
)

// shownPreview bounds the findings a preview prints; the rest is counted.
const shownPreview = 100

// previewPack prints what the new pack would have found in a history.
func previewPack(ctx context.Context, w io.Writer, before, after *pack.Pack, file string) error {
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("read history: %w", err)
	}
	cfg := history.DefaultConfig()
	cfg.Path = file
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host's name: %w", err)
	}
	found, err := agent.Preview(ctx, before, after, history.New(cfg, hclog.NewNullLogger()), host, time.Now())
	if err != nil {
		return fmt.Errorf("ask the history: %w", err)
	}
	flows := uint64(0)
	for i := range found {
		f := &found[i]
		flows += f.Count
		if i < shownPreview {
			o := &f.Observation
			fmt.Fprintf(w, "would have found: %s, %s, %s %s port %d, %d flows until %s\n",
				plain(f.Title), f.Severity, o.Direction, o.Remote.Addr, o.Remote.Port, f.Count, f.Last.UTC().Format(time.RFC3339))
		}
	}
	if more := len(found) - shownPreview; more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	_, err = fmt.Fprintf(w, "against the history: %d findings about %d flows\n", len(found), flows)
	return err
}
