package main

import (
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sallyport/collector/admin"
	"sallyport/collector/store"
)

func newUsers(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "users", Short: "People who sign in to the console: add, list, reset, remove"}
	var p admin.Principal
	add := &cobra.Command{
		Use:     "add NAME",
		Short:   "Add a user and print the one-time password",
		Example: "  sallyport-collector users add maria --role analyst --evidence",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Name = args[0]
			return c.secret(cmd, "/users", p)
		},
	}
	principalFlags(add, &p)
	reset := &cobra.Command{
		Use:     "reset NAME",
		Short:   "Give a user a new one-time password and end the user's sessions",
		Example: "  sallyport-collector users reset maria",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.secret(cmd, "/users/"+url.PathEscape(args[0])+"/password", nil)
		},
	}
	list := &cobra.Command{Use: "list", Short: "List users", Args: cobra.NoArgs, Example: "  sallyport-collector users list"}
	out := outputFlag(list, c.stdout)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		var users []store.User
		if err := c.get(cmd, "/users", &users); err != nil {
			return err
		}
		var rows [][]string
		for _, u := range users {
			rows = append(rows, []string{u.Name, u.Role, fmt.Sprint(u.Evidence), fmt.Sprint(u.MustChange), when(u.Created)})
		}
		return out.show(users, []string{"USER", "ROLE", "EVIDENCE", "MUST CHANGE PASSWORD", "CREATED"}, rows)
	}
	cmd.AddCommand(add, list, reset, c.remove("remove", "Remove a user", "users remove maria", "/users/"))
	return cmd
}

func newAPITokens(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "api-tokens", Short: "Tokens for programs that use the API: create, list, revoke"}
	var p admin.Principal
	create := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make an API token and print it",
		Example: "  sallyport-collector api-tokens create soar --role viewer --ttl 2160h",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Name = args[0]
			return c.secret(cmd, "/api-tokens", p)
		},
	}
	principalFlags(create, &p)
	create.Flags().DurationVar(&p.Life, "ttl", 90*24*time.Hour, "how long it is valid")
	list := &cobra.Command{Use: "list", Short: "List API tokens", Args: cobra.NoArgs, Example: "  sallyport-collector api-tokens list"}
	out := outputFlag(list, c.stdout)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		var tokens []store.APIToken
		if err := c.get(cmd, "/api-tokens", &tokens); err != nil {
			return err
		}
		var rows [][]string
		for _, t := range tokens {
			rows = append(rows, []string{t.Name, t.Role, fmt.Sprint(t.Evidence), when(t.Created), when(t.Expires), when(t.Revoked)})
		}
		return out.show(tokens, []string{"TOKEN", "ROLE", "EVIDENCE", "CREATED", "EXPIRES", "REVOKED"}, rows)
	}
	cmd.AddCommand(create, list, c.remove("revoke", "End an API token", "api-tokens revoke soar", "/api-tokens/"))
	return cmd
}

func principalFlags(cmd *cobra.Command, p *admin.Principal) {
	cmd.Flags().StringVar(&p.Role, "role", "viewer", "viewer, analyst, auditor or admin")
	cmd.Flags().BoolVar(&p.Evidence, "evidence", false, "may read packets; each look is logged")
}

func (c command) remove(verb, short, example, path string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Example: "  sallyport-collector " + example, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			return a.Do(cmd.Context(), "DELETE", path+url.PathEscape(args[0]), nil, nil)
		},
	}
}

// secret posts and prints the secret of the answer.
func (c command) secret(cmd *cobra.Command, path string, body any) error {
	a, err := c.admin()
	if err != nil {
		return err
	}
	var made admin.Secret
	if err := a.Do(cmd.Context(), "POST", path, body, &made); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, made.Secret)
	return err
}

func (c command) get(cmd *cobra.Command, path string, out any) error {
	a, err := c.admin()
	if err != nil {
		return err
	}
	return a.Do(cmd.Context(), "GET", path, nil, out)
}
