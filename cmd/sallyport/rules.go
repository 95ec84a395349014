package main

import (
	"github.com/spf13/cobra"
)

func newRules(env environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Check, show, test, explain, import and pack entities and detections",
	}
	cmd.AddCommand(
		newRulesLint(env),
		newRulesShow(env),
		newRulesTest(env),
		newRulesExplain(env),
		newRulesImport(env),
		newRulesPack(env),
	)
	return cmd
}
