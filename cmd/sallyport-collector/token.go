package main

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sallyport/collector/admin"
	"sallyport/collector/identity"
	"sallyport/collector/store"
)

func newToken(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Enrolment tokens: create, list, revoke"}
	cmd.AddCommand(newTokenCreate(c), newTokenList(c), newTokenRevoke(c))
	return cmd
}

func newTokenCreate(c command) *cobra.Command {
	var req identity.TokenRequest
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an enrolment token and print it",
		Long: `Makes a token with which agents enrol, and prints it; it cannot be shown again.
It carries the collector's address and its CA's hash.`,
		Example: `  sallyport-collector token create
  sallyport-collector token create --name 'web-*' --uses 20 --ttl 2h
  sallyport-collector token create --name web-7 | ssh web-7 sudo sallyport enrol --token-file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			var made admin.NewToken
			if err := a.Do(cmd.Context(), "POST", "/tokens", req, &made); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.stdout, made.Text)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Pattern, "name", "*", "`pattern` of the names it may enrol, with * and ?")
	f.IntVar(&req.Uses, "uses", 1, "how many agents it enrols")
	f.DurationVar(&req.Life, "ttl", time.Hour, "how long it is valid")
	f.StringVar(&req.URL, "url", "", "`address` agents reach the collector by (default: the configuration's url)")
	f.BoolVar(&req.Replace, "replace", false, "it may take over a name that is enrolled, whose certificates then end")
	return cmd
}

func newTokenList(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List enrolment tokens",
		Example: "  sallyport-collector token list -o json",
		Args:    cobra.NoArgs,
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a, err := c.admin()
		if err != nil {
			return err
		}
		var list []store.Token
		if err := a.Do(cmd.Context(), "GET", "/tokens", nil, &list); err != nil {
			return err
		}
		var rows [][]string
		for _, t := range list {
			rows = append(rows, []string{t.ID, t.Pattern, fmt.Sprintf("%d/%d", t.Left, t.Uses), when(t.Created), when(t.Expires), when(t.Revoked)})
		}
		return out.show(list, []string{"ID", "NAMES", "LEFT", "CREATED", "EXPIRES", "REVOKED"}, rows)
	}
	return cmd
}

func newTokenRevoke(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "End an enrolment token",
		Example: "  sallyport-collector token revoke kX3vQ2aB",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			return a.Do(cmd.Context(), "DELETE", "/tokens/"+url.PathEscape(args[0]), nil, nil)
		},
	}
}
