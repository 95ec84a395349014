package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/collector"
	"sallyport/collector/record"
	"sallyport/collector/reports"
	"sallyport/collector/store"
)

func newRecord(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "record", Short: "The tamper-evident record: verify, report, key"}
	cmd.AddCommand(newRecordVerify(c), newRecordReport(c), newRecordKey(c))
	return cmd
}

func newRecordKey(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "key",
		Short:   "Print the public key that this collector's checkpoints are signed with",
		Example: "  sallyport-collector record key",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			key, err := record.ReadVerifier(cfg.State)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.stdout, key)
			return err
		},
	}
}

func newRecordVerify(c command) *cobra.Command {
	var keys, files []string
	wait := 30 * time.Second
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute the record and compare everything that is kept with it",
		Long: `Reads the store, recomputes every digest and the whole tree, compares it with
every signed checkpoint, and every finding, revision, packet and decision of the
store with its entry. Give checkpoints that left through an exporter to have the
record checked against what the collector cannot have changed since.

It reads the store itself; the collector may run or not. Exit codes: 0 all agrees,
1 there are differences, 2 error.`,
		Example: `  sallyport-collector record verify
  sallyport-collector record verify --checkpoints siem-export.jsonl`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringArrayVar(&keys, "key", nil, "public `key` of another collector on the same store, as record key prints it")
	f.StringArrayVar(&files, "checkpoints", nil, "`file` of checkpoints kept elsewhere: a note, or lines of findings as the JSON exporters write")
	f.DurationVar(&wait, "wait", wait, "how long what has just come may take to reach both store and record")
	out := cmd.Flags().StringP("output", "o", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, st, err := c.openStore(cmd)
		if err != nil {
			return err
		}
		defer st.Close()
		own, err := record.ReadVerifier(cfg.State)
		if err != nil {
			return err
		}
		notes, err := readNotes(cfg, files)
		if err != nil {
			return err
		}
		v, err := record.Verify(cmd.Context(), record.Verifying{Store: st, Keys: append(keys, own), Notes: notes, Keep: cfg.Store.Keep, Wait: wait})
		if err != nil {
			return err
		}
		if err := c.showVerification(*out, v); err != nil {
			return err
		}
		if len(v.Differences) > 0 {
			return exitError{1}
		}
		return nil
	}
	return cmd
}

func (c command) showVerification(format string, v record.Verification) error {
	switch format {
	case "json":
		e := json.NewEncoder(c.stdout)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "text":
	default:
		return fmt.Errorf("output %q is unknown; give text or json", format)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "entries %d (%d documents removed with age)\nroot %s\ncheckpoints that agree %d\nfindings that agree %d, packets of %d, decisions %d\n",
		v.Entries, v.Removed, v.Root, v.Checkpoints, v.Findings, v.Packets, v.Decisions)
	for _, d := range v.Differences {
		fmt.Fprintln(&b, "difference:", printable(d))
	}
	if len(v.Differences) == 0 {
		fmt.Fprintln(&b, "everything agrees")
	}
	_, err := fmt.Fprint(c.stdout, b.String())
	return err
}

// readNotes reads the collector's own file of checkpoints and others.
func readNotes(cfg collector.Config, files []string) ([]string, error) {
	var notes []string
	own := record.Files(cfg.State)[record.CheckpointsName]
	for _, path := range append([]string{own}, files...) {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) && path == own {
			continue // nothing is signed yet
		}
		if err != nil {
			return nil, fmt.Errorf("read checkpoints: %w", err)
		}
		list, err := record.ReadCheckpoints(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read checkpoints of %s: %w", path, err)
		}
		notes = append(notes, list...)
	}
	return notes, nil
}

// openStore opens the store without the collector.
func (c command) openStore(cmd *cobra.Command) (collector.Config, *store.Store, error) {
	cfg, err := c.config()
	if err != nil {
		return cfg, nil, err
	}
	if cfg.Store.Postgres == "" {
		if _, err := os.Stat(filepath.Join(cfg.State, store.SQLiteFile)); err != nil {
			return cfg, nil, fmt.Errorf("open store: %w; is state_dir right?", err)
		}
	}
	st, err := store.Open(cmd.Context(), cfg.Store, cfg.State)
	return cfg, st, err
}

func newRecordReport(c command) *cobra.Command {
	var q record.Query
	var from, to, file string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Write a report on contacts with an entity's infrastructure in a period",
		Long: `Writes every contact that the record has with infrastructure attributed to an
entity in a period, with owners, bytes, digests, packs, reviewers' decisions and
proofs, and what was lost or not seen. The record is signed first, so that the
proofs cover it all. Times are UTC; --to is not in the period.`,
		Example: `  sallyport-collector record report --entity example-entity --from 2026-01-01 --to 2026-04-01 -o html --file report.html
  sallyport-collector record report --entity example-entity --from 2026-01-01 --to 2026-04-01 -o json | jq .totals`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&q.Entity, "entity", "", "the entity's `id`")
	f.StringVar(&from, "from", "", "first `day`, or RFC 3339 time")
	f.StringVar(&to, "to", "", "`day` after the last, or RFC 3339 time")
	f.StringVar(&file, "file", "", "`path` to write to, which must not exist (default: standard output)")
	out := f.StringP("output", "o", "html", "html or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if q.From, err = store.ParseTime("from", from); err != nil {
			return err
		}
		if q.To, err = store.ParseTime("to", to); err != nil {
			return err
		}
		if *out != "html" && *out != "json" {
			return fmt.Errorf("output %q is unknown; give html or json", *out)
		}
		cfg, st, err := c.openStore(cmd)
		if err != nil {
			return err
		}
		defer st.Close()
		signed, err := reports.Sign(cmd.Context(), st, cfg.State)
		if err != nil {
			return err
		}
		if !signed {
			fmt.Fprintln(c.stderr, "this collector has no key here; what came after the last checkpoint is not signed")
		}
		report, err := record.Build(cmd.Context(), st, q, version, time.Now())
		if err != nil {
			return err
		}
		return c.writeReport(report, *out, file)
	}
	return cmd
}

func (c command) writeReport(report record.Report, format, file string) (err error) {
	w := c.stdout
	if file != "" {
		f, openErr := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if openErr != nil {
			return fmt.Errorf("write report: %w", openErr)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	if format == "html" {
		return report.WriteHTML(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(report)
}
