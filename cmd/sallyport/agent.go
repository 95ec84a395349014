package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"sallyport/agent"
)

// agentGC collects when the heap has grown by half: 10 MiB less under load for no
// processor time that could be measured (docs/benchmarks.md). GOGC overrides it.
const agentGC = 50

func newAgent(env environment) *cobra.Command {
	var check, show bool
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Watch this host until stopped",
		Long: `Watch this host until stopped: see every flow and its owner, identify remote
desktop, VPN and remote-access protocols, match remotes with the packs in force,
and deliver findings. SIGHUP is not used; "sallyport reload" reads the rules again.

Needs root or the capabilities of docs/privileges.md.`,
		Example: `  sallyport agent --config /etc/sallyport/agent.yaml
  sallyport agent --check-config
  sallyport agent --print-config`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd)
	cmd.Flags().BoolVar(&check, "check-config", false, "check the configuration and the rules it names, then end")
	cmd.Flags().BoolVar(&show, "print-config", false, "print the configuration in force, defaults included, then end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		switch {
		case show:
			text, err := cfg.Effective()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(env.stdout, text)
			return err
		case check:
			n, err := agent.CheckRules(cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.stdout, "the configuration is in order; %d indicators would be in force\n", n)
			return err
		}
		if os.Geteuid() != 0 {
			fmt.Fprintln(env.stderr, "sallyport: not root: what the missing capabilities cost is shown by \"sallyport doctor\"")
		}
		if os.Getenv("GOGC") == "" {
			defer debug.SetGCPercent(debug.SetGCPercent(agentGC))
		}
		return agent.New(cfg, version, env.stdout, newLogger(cfg, env.stderr)).Run(cmd.Context())
	}
	return cmd
}
