package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"sallyport/collector/export"
	"sallyport/collector/store"
)

func newExporters(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "exporters", Short: "Exporters: list, parked, resend"}
	list := &cobra.Command{Use: "list", Short: "List exporters and how far behind they are", Args: cobra.NoArgs, Example: "  sallyport-collector exporters list"}
	out := outputFlag(list, c.stdout)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		var all []export.Status
		if err := c.get(cmd, "/exporters", &all); err != nil {
			return err
		}
		var rows [][]string
		for _, e := range all {
			rows = append(rows, []string{e.Name, e.Type, e.Format, strconv.FormatUint(e.Pending, 10), when(e.Behind), strconv.Itoa(e.Parked), when(e.Failing), e.Error})
		}
		return out.show(all, []string{"EXPORTER", "TYPE", "FORMAT", "PENDING", "OLDEST", "PARKED", "FAILING SINCE", "ERROR"}, rows)
	}
	cmd.AddCommand(list, newParked(c), newResend(c))
	return cmd
}

func newParked(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "parked [EXPORTER]",
		Short:   "List the findings a receiver refused for good, and why",
		Example: "  sallyport-collector exporters parked siem",
		Args:    cobra.MaximumNArgs(1),
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		values := url.Values{}
		if len(args) > 0 {
			values.Set("exporter", args[0])
		}
		var parked []store.Parked
		if err := c.get(cmd, "/parked?"+values.Encode(), &parked); err != nil {
			return err
		}
		var rows [][]string
		for _, p := range parked {
			rows = append(rows, []string{p.Exporter, p.Agent, p.ID, strconv.FormatUint(p.Revision, 10), when(p.At), p.Reason})
		}
		return out.show(parked, []string{"EXPORTER", "AGENT", "FINDING", "REVISION", "PARKED", "REASON"}, rows)
	}
	return cmd
}

func newResend(c command) *cobra.Command {
	return &cobra.Command{
		Use:     "resend EXPORTER",
		Short:   "Send again what an exporter parked",
		Example: "  sallyport-collector exporters resend siem",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := c.admin()
			if err != nil {
				return err
			}
			var n int
			if err := a.Do(cmd.Context(), "POST", "/parked/"+url.PathEscape(args[0]), nil, &n); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "findings sent again: %d\n", n)
			return err
		},
	}
}
