package main

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/collector/packs"
)

func newPacks(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "packs", Short: "Packs offered to agents: list, groups, add, remove"}
	cmd.AddCommand(newPacksList(c), newPacksGroups(c), newPacksAdd(c), newPacksRemove(c))
	return cmd
}

func newPacksList(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List packs by group, with what is stale or cannot be offered",
		Example: "  sallyport-collector packs list",
		Args:    cobra.NoArgs,
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list := []packs.Held{}
		if err := c.get(cmd, "/packs", &list); err != nil {
			return err
		}
		var rows [][]string
		for _, h := range list {
			state := "offered"
			switch {
			case h.Refused != "":
				state = "not offered: " + h.Refused
			case h.Stale != "":
				state = "offered, stale: " + h.Stale
			}
			rows = append(rows, []string{h.Group, h.Name, strconv.FormatUint(h.Version, 10), h.Role + " " + h.KeyID, when(h.Created), when(h.Expires), strconv.FormatInt(h.Bytes, 10), state})
		}
		return out.show(list, []string{"GROUP", "PACK", "VERSION", "SIGNED BY", "CREATED", "EXPIRES", "BYTES", "STATE"}, rows)
	}
	return cmd
}

func newPacksGroups(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "groups",
		Short: "List the groups of agents, who is in each now, and what they are offered",
		Long: `Lists the groups of packs.groups in the order in which they count: of packs of one
name an agent is offered that of its first group, and that of "all" last.`,
		Example: "  sallyport-collector packs groups",
		Args:    cobra.NoArgs,
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list := []packs.Assignment{}
		if err := c.get(cmd, "/packs/groups", &list); err != nil {
			return err
		}
		var rows [][]string
		for _, a := range list {
			var offered []string
			for _, h := range a.Packs {
				offered = append(offered, fmt.Sprintf("%s %d", h.Name, h.Version))
			}
			rows = append(rows, []string{a.Name, strings.Join(a.Agents, ","), strings.Join(a.Labels, ","), strconv.Itoa(len(a.Members)), strings.Join(a.Members[:min(len(a.Members), 10)], ","), strings.Join(offered, ",")})
		}
		return out.show(list, []string{"GROUP", "NAMES", "LABELS", "AGENTS", "FIRST OF THEM", "PACKS"}, rows)
	}
	return cmd
}

func groupFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("group", packs.All, "`GROUP` of agents")
}

func newPacksAdd(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Verify a signed pack and offer it in the place of its older version",
		Long: `Sends FILE to the running collector, which verifies it under packs.root and offers
it to a group of agents. A pack that is unsigned, signed under another root or older
than the one offered is refused: to go back, build a higher version with the older
content.`,
		Example: "  sallyport-collector packs add sallyport.pack",
		Args:    cobra.ExactArgs(1),
	}
	group := groupFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := c.admin()
		if err != nil {
			return err
		}
		file, err := os.Open(args[0])
		if err != nil {
			return fmt.Errorf("read pack: %w", err)
		}
		defer file.Close()
		var h packs.Held
		if err := a.Send(cmd.Context(), "/packs/"+url.PathEscape(*group), file, &h); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.stdout, "offered to group %s: %s %d, expires %s\n", printable(h.Group), printable(h.Name), h.Version, when(h.Expires))
		return err
	}
	return cmd
}

func newPacksRemove(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Offer a pack no longer",
		Long: `Offers a pack no longer. Agents that have it keep it: what is taken away is not
signed. To take content out of force, offer a higher version without it.`,
		Example: "  sallyport-collector packs remove local --group web",
		Args:    cobra.ExactArgs(1),
	}
	group := groupFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := c.admin()
		if err != nil {
			return err
		}
		return a.Do(cmd.Context(), "DELETE", "/packs/"+url.PathEscape(*group)+"/"+url.PathEscape(args[0]), nil, nil)
	}
	return cmd
}
