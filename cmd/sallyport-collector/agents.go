package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"sallyport/collector/fleet"
)

func newAgents(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "agents", Short: "Agents: list, revoke"}
	cmd.AddCommand(newAgentsList(c), newAgentsRevoke(c))
	return cmd
}

func newAgentsList(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List agents, with what is silent, missing, lost and dropped",
		Example: "  sallyport-collector agents list",
		Args:    cobra.NoArgs,
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a, err := c.admin()
		if err != nil {
			return err
		}
		var list []fleet.Agent
		if err := a.Do(cmd.Context(), "GET", "/agents", nil, &list); err != nil {
			return err
		}
		var rows [][]string
		n := func(v uint64) string { return strconv.FormatUint(v, 10) }
		for _, x := range list {
			version, spool := "", ""
			if h := x.Heartbeat; h != nil {
				version, spool = h.Version, n(h.Spool.Findings)
			}
			rows = append(rows, []string{x.Name, x.State, version, when(x.Heard), n(x.Findings), spool, n(x.Missing), n(x.Rejected), n(x.Lost), n(x.Dropped), when(x.Expires)})
		}
		return out.show(list, []string{"AGENT", "STATE", "VERSION", "HEARD", "FINDINGS", "SPOOL", "MISSING", "REJECTED", "LOST", "DROPPED", "CERTIFICATE UNTIL"}, rows)
	}
	return cmd
}

func newAgentsRevoke(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME",
		Short:   "End an agent's certificates and connections",
		Example: "  sallyport-collector agents revoke web-1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			var n int
			if err := a.Do(cmd.Context(), "DELETE", "/agents/"+url.PathEscape(args[0]), nil, &n); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "certificates revoked: %d\n", n)
			return err
		},
	}
}
