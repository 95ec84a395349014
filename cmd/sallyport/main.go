// Command sallyport is the agent and the operator's commands.
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
	fmt.Fprintln(env.stderr, "sallyport:", err)
	return 2
}

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "sallyport",
		Short: "Watch what leaves this host for infrastructure attributed to designated entities",
		Long: `Watch what leaves this host for infrastructure attributed to designated entities,
and ask about it. "agent" watches; "status", "reload" and "selftest" speak to the
agent that runs; the others need none.

Exit status of every command: 0 done, 2 error; 1 where the command's help says so.`,
		Example: `  sallyport doctor
  sallyport check 203.0.113.10 example.com
  sallyport replay capture.pcap.gz
  sallyport completion bash > /etc/bash_completion.d/sallyport`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.AddCommand(
		newAgent(env),
		newCheck(env),
		newDoctor(env),
		newEnrol(env),
		newHistory(env),
		newReload(env),
		newReplay(env, openFindings),
		newRules(env),
		newSelftest(env),
		newStatus(env),
		newVersion(env),
	)
	return root
}
