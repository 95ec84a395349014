package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/collector/store"
)

func newFindings(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "findings", Short: "Findings: list, show, evidence, triage, hold, release"}
	cmd.AddCommand(newFindingsList(c), newFindingsShow(c), newFindingsEvidence(c), newFindingsTriage(c), newFindingsHold(c, true), newFindingsHold(c, false))
	return cmd
}

func newFindingsList(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [WORD...]",
		Short: "List findings, the latest first",
		Long: `Lists findings, the latest first. Words are searched for in names, addresses,
entities, processes and the rest of a finding; all must be found.`,
		Example: `  sallyport-collector findings list
  sallyport-collector findings list --severity high --protocol rdp
  sallyport-collector findings list -o json 203.0.113.9 | jq .`,
	}
	out := outputFlag(cmd, c.stdout)
	values := url.Values{}
	f := cmd.Flags()
	texts := map[string]*string{}
	for name, usage := range map[string]string{
		"severity": "the least severity", "agent": "agent", "host": "host", "entity": "entity's id", "protocol": "protocol", "direction": "inbound or outbound",
		"outcome": "outcome", "state": "opened, updated or closed", "remote": "remote address", "rule": "rule's id", "id": "finding's id",
		"triage": "new, in_progress or closed", "assignee": "who works on it", "decision": "licensed, benign or confirmed_contact",
		"from": "last flow since (RFC 3339 or date)", "to": "last flow before", "cursor": "where the page before ended",
		"test": "true or false: of self-tests", "suppressed": "true or false: silenced by an allow-list",
	} {
		texts[name] = f.String(name, "", usage)
	}
	limit := f.Int("limit", 50, "how many at most")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for name, v := range texts {
			if *v != "" {
				values.Set(name, *v)
			}
		}
		values.Set("q", strings.Join(args, " "))
		values.Set("limit", strconv.Itoa(*limit))
		page, err := c.findings(cmd, values)
		if err != nil {
			return err
		}
		return out.show(page, []string{"LAST", "SEVERITY", "AGENT", "PROTOCOL", "REMOTE", "OUTCOME", "FLOWS", "ID", "TITLE"}, findingRows(page))
	}
	return cmd
}

func findingRows(page store.Page) [][]string {
	var rows [][]string
	for _, x := range page.Findings {
		f, o := x.Finding, x.Finding.Observation
		severity := string(f.Severity)
		if f.Test {
			severity += " (test)"
		}
		if f.Suppressed != nil {
			severity += " (suppressed)"
		}
		protocol := strings.TrimSpace(o.Identification.Protocol + " " + o.Identification.State)
		remote := ""
		if o.Remote.Addr.IsValid() {
			remote = o.Remote.Addr.String()
			if o.Remote.Port != 0 {
				remote += " " + strconv.Itoa(int(o.Remote.Port))
			}
		}
		rows = append(rows, []string{when(f.Last), severity, x.Reporter, protocol, remote, string(o.Outcome), strconv.FormatUint(f.Count, 10), f.ID, f.Title})
	}
	return rows
}

func (c command) findings(cmd *cobra.Command, values url.Values) (store.Page, error) {
	var page store.Page
	a, err := c.admin()
	if err != nil {
		return page, err
	}
	return page, a.Do(cmd.Context(), "GET", "/findings?"+values.Encode(), nil, &page)
}

func newFindingsShow(c command) *cobra.Command {
	var agent string
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Print one finding as JSON, without its packets",
		Example: "  sallyport-collector findings show 5f0c6a1e",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			x, err := c.finding(cmd, agent, args[0])
			if err != nil {
				return err
			}
			e := json.NewEncoder(c.stdout)
			e.SetIndent("", "  ")
			return e.Encode(x)
		},
	}
	cmd.Flags().StringVar(&agent, "agent", "", "the agent, where two report the same id")
	return cmd
}

// finding finds the one with this id.
func (c command) finding(cmd *cobra.Command, agent, id string) (store.Finding, error) {
	page, err := c.findings(cmd, url.Values{"id": {id}, "agent": {agent}, "limit": {"2"}})
	switch {
	case err != nil:
		return store.Finding{}, err
	case len(page.Findings) == 0:
		return store.Finding{}, fmt.Errorf("finding %s: %w", id, store.ErrNotFound)
	case len(page.Findings) > 1:
		return store.Finding{}, fmt.Errorf("finding %s is of several agents; name one with --agent", id)
	}
	return page.Findings[0], nil
}

func newFindingsEvidence(c command) *cobra.Command {
	var agent string
	cmd := &cobra.Command{
		Use:     "evidence ID FILE",
		Short:   "Write a finding's packets to a pcapng file; the access is logged",
		Example: "  sallyport-collector findings evidence 5f0c6a1e flow.pcapng",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			x, err := c.finding(cmd, agent, args[0])
			if err != nil {
				return err
			}
			a, err := c.admin()
			if err != nil {
				return err
			}
			out, err := os.OpenFile(args[1], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			defer out.Close()
			if err := a.Copy(cmd.Context(), "/findings/"+url.PathEscape(x.Reporter)+"/"+url.PathEscape(x.Finding.ID)+"/evidence", out); err != nil {
				os.Remove(args[1]) // holds nothing
				return err
			}
			return out.Close()
		},
	}
	cmd.Flags().StringVar(&agent, "agent", "", "the agent, where two report the same id")
	return cmd
}
