// Command sallyport-collector takes findings from agents, keeps them and passes
// them on.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"sallyport/collector"
	"sallyport/collector/admin"
)

// version is set by the build.
var version = "dev"

// environment is what a command may touch of the world, so that every command
// can be tested.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// exitError carries an exit code of its own; the message has been printed.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

func main() {
	os.Exit(run(os.Args[1:], environment{os.Stdin, os.Stdout, os.Stderr}))
}

func run(args []string, env environment) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	}
	fmt.Fprintln(env.stderr, "sallyport-collector:", err)
	return 2
}

// command is what every command is made with.
type command struct {
	environment
	configFile *string
}

func (c command) config() (collector.Config, error) { return collector.LoadConfig(*c.configFile) }

// admin speaks to the running collector.
func (c command) admin() (*admin.Client, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	return admin.NewClient(cfg.Socket()), nil
}

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport-collector",
		Short: "Take findings from Sallyport's agents, keep them and pass them on",
		Long: `The collector takes findings from Sallyport's agents, keeps them and passes them on.

First "init" makes its CA and the first administrator; "run" serves. The other
commands speak to the running collector through a socket in its state folder, as
root or as the collector's own user. Exit codes: 0 done, 2 error.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	c := command{env, root.PersistentFlags().String("config", "/etc/sallyport/collector.yaml", "configuration `file`")}
	root.AddCommand(
		newRun(c), newInit(c), newCheckConfig(c), newLimits(c),
		newToken(c), newAgents(c), newCA(c), newFindings(c), newUsers(c), newAPITokens(c), newExporters(c), newRecord(c), newPacks(c), newFeeds(c),
		newBackup(c), newRestore(c), newVersion(env),
	)
	return root
}
