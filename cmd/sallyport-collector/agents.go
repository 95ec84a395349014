package main

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/collector/admin"
	"sallyport/collector/fleet"
	"sallyport/collector/store"
)

func newAgents(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "agents", Short: "Agents: list, label, revoke, readmit"}
	cmd.AddCommand(newAgentsList(c), newAgentsLabel(c), newAgentsRevoke(c), newAgentsReadmit(c))
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
	labels := cmd.Flags().StringArray("label", nil, "only agents with this `label`, name=value or name; all where given again")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a, err := c.admin()
		if err != nil {
			return err
		}
		var list []fleet.Agent
		if err := a.Do(cmd.Context(), "GET", "/agents?"+url.Values{"label": *labels}.Encode(), nil, &list); err != nil {
			return err
		}
		var rows [][]string
		n := func(v uint64) string { return strconv.FormatUint(v, 10) }
		for _, x := range list {
			version, spool := "", ""
			if h := x.Heartbeat; h != nil {
				version, spool = h.Version, n(h.Spool.Findings)
			}
			rows = append(rows, []string{x.Name, x.State, version, when(x.Heard), n(x.Findings), spool, n(x.Missing), n(x.Rejected), n(x.Lost), n(x.Dropped), when(x.Expires), labelText(x.Labels)})
		}
		return out.show(list, []string{"AGENT", "STATE", "VERSION", "HEARD", "FINDINGS", "SPOOL", "MISSING", "REJECTED", "LOST", "DROPPED", "CERTIFICATE UNTIL", "LABELS"}, rows)
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

func newAgentsReadmit(c command) *cobra.Command {
	return &cobra.Command{
		Use:   "readmit NAME",
		Short: "Let a revoked agent enrol again with its pod's token",
		Long: `An agent in Kubernetes that was revoked stays out, although its pod's token is
good. This lets it enrol once more, within a day. Agents elsewhere are given an
enrolment token instead ("token create").`,
		Example: "  sallyport-collector agents readmit node-7",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			var t store.Token
			if err := a.Do(cmd.Context(), "POST", "/agents/"+url.PathEscape(args[0])+"/readmission", nil, &t); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "%s may enrol again until %s\n", printable(t.Pattern), when(t.Expires))
			return err
		},
	}
}

func newAgentsLabel(c command) *cobra.Command {
	return &cobra.Command{
		Use:   "label NAME LABEL=VALUE...",
		Short: "Give an agent labels; LABEL= takes one away",
		Long: `Gives an agent labels, which are shown and can be filtered by. The label "group"
says which group it is in. LABEL= takes a label away.`,
		Example: `  sallyport-collector agents label web-1 group=shops site=fra1
  sallyport-collector agents label web-1 site=`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			for _, text := range args[1:] {
				name, value, ok := strings.Cut(text, "=")
				if !ok {
					return fmt.Errorf("%q is no label; write LABEL=VALUE, or LABEL= to take one away", text)
				}
				if err := a.Do(cmd.Context(), "PUT", "/agents/"+url.PathEscape(args[0])+"/labels", admin.Label{Name: name, Value: value}, nil); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func labelText(labels map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, name+"="+labels[name])
	}
	return strings.Join(list, ",")
}
