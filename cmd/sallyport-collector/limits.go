package main

import (
	"github.com/spf13/cobra"
)

func newLimits(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "limits",
		Short: "Show every limit as the configuration sets it",
		Long: `Shows every limit under the name of its setting, as the configuration file sets it,
and those that are fixed. The running collector's are in the console and in the API
(/limits).`,
		Example: "  sallyport-collector limits",
		Args:    cobra.NoArgs,
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(*cobra.Command, []string) error {
		cfg, err := c.config()
		if err != nil {
			return err
		}
		list := cfg.Limits()
		var rows [][]string
		for _, b := range list {
			name := b.Name
			if b.Fixed {
				name = "(fixed) " + name
			}
			rows = append(rows, []string{name, b.Value, b.What})
		}
		return out.show(list, []string{"SETTING", "VALUE", "WHAT IT BOUNDS"}, rows)
	}
	return cmd
}
