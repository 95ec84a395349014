package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"sallyport/collector/store"
	"sallyport/collector/triage"
)

func newFindingsTriage(c command) *cobra.Command {
	var agent string
	var v triage.Verdict
	cmd := &cobra.Command{
		Use:   "triage ID",
		Short: "Say what a finding is; without --state, list what was said",
		Long: `Sets a finding's state, assignee and decision, with a note. What is said is kept
with the time and the author, and goes into the record. A closed finding needs a
decision; "licensed" needs a note that names the licence.`,
		Example: `  sallyport-collector findings triage 5f0c6a1e --state in_progress --assignee maria
  sallyport-collector findings triage 5f0c6a1e --state closed --decision licensed --note "licence 2026-1"`,
		Args: cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringVar(&agent, "agent", "", "the agent, where two report the same id")
	f.StringVar(&v.State, "state", "", "new, in_progress or closed")
	f.StringVar(&v.Assignee, "assignee", "", "who works on it")
	f.StringVar(&v.Decision, "decision", "", "licensed, benign or confirmed_contact")
	f.StringVar(&v.Note, "note", "", "what the next reader must know")
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := c.findingPath(cmd, agent, args[0])
		if err != nil {
			return err
		}
		a, err := c.admin()
		if err != nil {
			return err
		}
		if v.State != "" {
			var d store.Decision
			return a.Do(cmd.Context(), "POST", path+"/triage", v, &d)
		}
		var list []store.Decision
		if err := a.Do(cmd.Context(), "GET", path+"/triage", nil, &list); err != nil {
			return err
		}
		var rows [][]string
		for _, d := range list {
			rows = append(rows, []string{when(d.At), d.Author, d.State, d.Assignee, d.Decision, d.Note})
		}
		return out.show(list, []string{"AT", "AUTHOR", "STATE", "ASSIGNEE", "DECISION", "NOTE"}, rows)
	}
	return cmd
}

func newFindingsHold(c command, hold bool) *cobra.Command {
	var agent string
	use, short, method := "hold", "Keep a finding and its packets whatever their age", "PUT"
	if !hold {
		use, short, method = "release", "End a legal hold", "DELETE"
	}
	cmd := &cobra.Command{
		Use:     use + " ID",
		Short:   short,
		Example: "  sallyport-collector findings " + use + " 5f0c6a1e",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := c.findingPath(cmd, agent, args[0])
			if err != nil {
				return err
			}
			a, err := c.admin()
			if err != nil {
				return err
			}
			if err := a.Do(cmd.Context(), method, path+"/legal-hold", nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.stdout, "done")
			return err
		},
	}
	cmd.Flags().StringVar(&agent, "agent", "", "the agent, where two report the same id")
	return cmd
}

// findingPath is the path of the finding with this id on the admin socket.
func (c command) findingPath(cmd *cobra.Command, agent, id string) (string, error) {
	x, err := c.finding(cmd, agent, id)
	if err != nil {
		return "", err
	}
	return "/findings/" + url.PathEscape(x.Reporter) + "/" + url.PathEscape(x.Finding.ID), nil
}
