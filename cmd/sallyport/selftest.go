package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sallyport/agent/control"
	"sallyport/agent/selftest"
)

func newSelftest(env environment) *cobra.Command {
	var format string
	var port uint16
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Prove that the running agent finds what it should",
		Long: `Prove that the running agent finds what it should: open a real RDP connection,
inside network namespaces made for it, to a documentation address that the
shipped test entity holds, and read the finding back from the agent. Nothing
leaves the host. The finding is marked "test" everywhere it goes.

Exit status: 0 the finding came, 1 it did not, 2 error.`,
		Example: `  sallyport selftest
  sallyport selftest --port 8443 -o json`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().StringVarP(&format, "output", "o", "text", "format: text or json")
	cmd.Flags().Uint16Var(&port, "port", 3389, "TCP port of the test connection")
	cmd.Flags().DurationVar(&limit, "timeout", 30*time.Second, "how long to wait for the finding")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		client := control.NewClient(cfg.StateDir)
		if _, err := client.Status(cmd.Context()); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), limit)
		defer cancel()
		result, err := selftest.Run(ctx, client, port)
		if errors.Is(err, selftest.ErrNoFinding) {
			fmt.Fprintf(env.stderr, "sallyport: %v within %s; \"sallyport doctor\" shows what is degraded\n", err, limit)
			return exitError{1}
		}
		if err != nil {
			return err
		}
		return printAs(env.stdout, format, result, func(w io.Writer) error {
			fmt.Fprintf(w, "found after %s:\n", result.After.Round(time.Millisecond))
			return printFinding(w, &result.Finding)
		})
	}
	return cmd
}
