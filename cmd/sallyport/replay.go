package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"sallyport/agent/capture"
	"sallyport/agent/flow"
	"sallyport/agent/protocol"
)

// replaySink takes the flows of one capture.
type replaySink interface {
	flow.Sink
	// Done ends a capture: what is still to be printed, is.
	Done() error
}

// captureFindings makes the sinks that print the findings of captures, through the
// agent's own identification, naming and matching. format is "json" or "text".
type captureFindings interface {
	flows() flow.Config
	sink(ctx context.Context, captureName, format string, out io.Writer) replaySink
	Close() error
}

// findingsOpener reads what a configuration judges by, once for all captures.
type findingsOpener func(config string) (captureFindings, error)

// replayOptions are the command's flags.
type replayOptions struct {
	flows  bool
	format string
	config *string
	local  []string
	stats  bool
}

func newReplay(env environment, open findingsOpener) *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use:   "replay FILE...",
		Short: "Run capture files through identification and matching",
		Long: `Run capture files through the same flow table, identification, naming and
matching as live traffic, by the rules of the agent's configuration: packs,
entities, detections, allow-list, approved tools and databases.

FILE is a pcap or pcapng file, also compressed with gzip or zstd, "-" for stdin,
or a folder of such files. A truncated file counts as far as it can be read.

Exit status: 0 all was read, 1 some captures could not be read to the end, 2 error.`,
		Example: `  sallyport replay incident.pcapng
  sallyport replay --config /etc/sallyport/agent.yaml --local 192.0.2.0/24 -o json captures/
  sallyport replay --flows captures/ | jq .label`,
		Args: cobra.MinimumNArgs(1),
	}
	o.config = configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var findings captureFindings
		if !o.flows {
			var err error
			if findings, err = open(*o.config); err != nil {
				return err
			}
			defer findings.Close()
		}
		r, err := newReplayer(env, o, findings)
		if err != nil {
			return err
		}
		return r.run(cmd.Context(), args)
	}
	cmd.Flags().BoolVar(&o.flows, "flows", false, "print one JSON object per flow instead of findings")
	cmd.Flags().StringVarP(&o.format, "output", "o", "text", "format of findings: json or text")
	cmd.Flags().StringSliceVar(&o.local, "local", nil, "`PREFIX` of the host's own addresses (default: the side that opened a flow)")
	cmd.Flags().BoolVar(&o.stats, "stats", false, "print counters to stderr as JSON")
	return cmd
}

// replayer runs captures one after the other.
type replayer struct {
	env      environment
	options  replayOptions
	cfg      flow.Config
	findings captureFindings // nil with --flows
	engine   *protocol.Engine
	decoder  *capture.Decoder
	progress *progress
	failed   bool
}

func newReplayer(env environment, o replayOptions, findings captureFindings) (*replayer, error) {
	if o.format != "json" && o.format != "text" {
		return nil, fmt.Errorf("output format %q: use json or text", o.format)
	}
	cfg := flow.ReplayConfig()
	if o.flows {
		cfg.Evidence.Packets = 0
	} else {
		cfg = findings.flows()
	}
	for _, text := range o.local {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("--local %q is no prefix: write it like 192.0.2.0/24", text)
		}
		cfg.Local = append(cfg.Local, prefix.Masked())
	}
	return &replayer{
		env: env, options: o, cfg: cfg, findings: findings,
		engine:   protocol.NewEngine(protocol.Detectors()),
		decoder:  capture.NewDecoder(),
		progress: newProgress(env.stderr),
	}, nil
}

// replayGC trades memory for speed: a replay is short and lives on flows that it
// reuses.
const replayGC = 400

func (r *replayer) run(ctx context.Context, args []string) error {
	defer debug.SetGCPercent(debug.SetGCPercent(replayGC))
	files, err := captureFiles(args)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := r.file(ctx, file); err != nil {
			return err
		}
	}
	if r.failed {
		return exitError{1}
	}
	return nil
}

// file replays one capture. What stops the reading of it stops nothing else.
func (r *replayer) file(ctx context.Context, path string) error {
	reader, err := capture.Open(path, r.env.stdin)
	if err != nil {
		r.fail(err)
		return nil
	}
	defer reader.Close()
	sink := r.sink(ctx, path)
	table := flow.New(r.cfg, r.engine, sink)
	frames := frameCounts{Capture: filepath.Base(path), Undecoded: map[string]uint64{}}
	readErr := r.frames(ctx, reader, table, &frames)
	table.Close()
	r.progress.clear()
	if err := sink.Done(); err != nil {
		return fmt.Errorf("print results: %w", err)
	}
	if r.options.stats {
		frames.print(r.env.stderr, table.Counters())
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if readErr != nil {
		r.fail(readErr)
	}
	return nil
}

func (r *replayer) fail(err error) {
	r.failed = true
	fmt.Fprintln(r.env.stderr, "sallyport:", err)
}

func (r *replayer) sink(ctx context.Context, path string) replaySink {
	name := filepath.Base(path)
	if path == "-" {
		name = "stdin"
	}
	if r.options.flows {
		return newFlowPrinter(name, r.env.stdout)
	}
	return r.findings.sink(ctx, name, r.options.format, r.env.stdout)
}

// lookUp is after how many frames the replay looks at the context and the clock.
const lookUp = 1 << 14

// frames feeds the table until the file ends.
func (r *replayer) frames(ctx context.Context, reader *capture.Reader, table *flow.Table, n *frameCounts) error {
	var f capture.Frame
	var meta flow.Meta
	for {
		if err := reader.Next(&f); err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return err
		}
		n.Frames++
		if n.Frames%lookUp == 0 {
			if ctx.Err() != nil {
				return nil
			}
			r.progress.show(n.Capture, n.Frames, reader.Offset())
		}
		p, err := r.decoder.Decode(f.Link, f.Data, f.Length, f.Time)
		if err != nil {
			n.Undecoded[err.Error()]++
			continue
		}
		table.Packet(p, &meta)
	}
}
