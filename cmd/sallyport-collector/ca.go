package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"sallyport/collector/identity"
)

func newCA(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "ca", Short: "The CA that agents trust: show, certificate, rotate, retire"}
	cmd.AddCommand(
		newCACertificate(c),
		caCommand(c, "show", "GET", "/ca", "Show the CA, and who still needs the one before", ""),
		caCommand(c, "rotate", "POST", "/ca/rotate", "Have a new CA take over from the present one", `The new CA signs at once; the old one stays trusted. Agents get both when they
renew their certificates, two thirds into their life, and tokens made before keep
working. "ca show -o json" lists the agents that have not renewed yet; when there are
none, "ca retire" ends the trust in the old CA.`),
		caCommand(c, "retire", "POST", "/ca/retire", "End the trust in the CA before the rotation", `Refused while an agent holds a certificate of the old CA and has not renewed it.
Tokens made before the rotation no longer work afterwards.`),
	)
	return cmd
}

func caCommand(c command, use, method, path, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Example: "  sallyport-collector ca " + use, Args: cobra.NoArgs}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a, err := c.admin()
		if err != nil {
			return err
		}
		var ca identity.AuthorityState
		if err := a.Do(cmd.Context(), method, path, nil, &ca); err != nil {
			return err
		}
		rows := [][]string{{ca.SHA256, when(ca.Since), when(ca.Until), ca.Before, strconv.Itoa(len(ca.Pending))}}
		return out.show(ca, []string{"SHA256", "SINCE", "UNTIL", "BEFORE", "PENDING"}, rows)
	}
	return cmd
}

func newCACertificate(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "certificate",
		Short:   "Print the certificates that agents and browsers must trust, as PEM",
		Example: "  sallyport-collector ca certificate > ca.crt",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			var text string
			if err := a.Do(cmd.Context(), "GET", "/ca/certificate", nil, &text); err != nil {
				return err
			}
			_, err = fmt.Fprint(c.stdout, text)
			return err
		},
	}
}
