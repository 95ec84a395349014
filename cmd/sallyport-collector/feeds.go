package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"sallyport/collector/feeds"
)

func newFeeds(c command) *cobra.Command {
	cmd := &cobra.Command{Use: "feeds", Short: "Scheduled feeds: list, show, fetch"}
	cmd.AddCommand(newFeedsList(c), newFeedsShow(c), newFeedsFetch(c))
	return cmd
}

func newFeedsList(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List feeds with rows, rejected rows, last success and what went wrong",
		Example: "  sallyport-collector feeds list",
		Args:    cobra.NoArgs,
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list := []feeds.Outcome{}
		if err := c.get(cmd, "/feeds", &list); err != nil {
			return err
		}
		var rows [][]string
		for _, o := range list {
			pack := ""
			if o.Version > 0 {
				pack = fmt.Sprintf("%s %d (%s)", o.Pack, o.Version, o.Group)
			}
			rows = append(rows, []string{
				o.Name, o.Kind, strconv.Itoa(o.Indicators), strconv.Itoa(o.Report.Rows), strconv.Itoa(o.Report.Rejected),
				when(o.Succeeded), when(o.Next), pack, o.Failure,
			})
		}
		return out.show(list, []string{"FEED", "KIND", "IN FORCE", "ROWS", "REJECTED", "LAST SUCCESS", "NEXT", "PACK", "FAILURE"}, rows)
	}
	return cmd
}

func newFeedsShow(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show the rows of a feed that could not be used, with line and reason",
		Example: "  sallyport-collector feeds show blocklist",
		Args:    cobra.ExactArgs(1),
	}
	out := outputFlag(cmd, c.stdout)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var list []feeds.Outcome
		if err := c.get(cmd, "/feeds", &list); err != nil {
			return err
		}
		for _, o := range list {
			if o.Name == args[0] {
				return showRejected(c, out, o)
			}
		}
		return fmt.Errorf("no feed %q in feeds.sources", args[0])
	}
	return cmd
}

func showRejected(c command, out output, o feeds.Outcome) error {
	var rows [][]string
	for _, r := range o.Report.Rejections {
		rows = append(rows, []string{r.Document, strconv.Itoa(r.Line), r.Value, r.Reason})
	}
	if err := out.show(o, []string{"DOCUMENT", "LINE", "VALUE", "REASON"}, rows); err != nil {
		return err
	}
	for _, n := range o.Report.Notes {
		fmt.Fprintln(c.stderr, "note:", printable(n))
	}
	if more := o.Report.Rejected - len(o.Report.Rejections); more > 0 {
		fmt.Fprintf(c.stderr, "and %d more rows rejected\n", more)
	}
	return nil
}

func newFeedsFetch(c command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fetch NAME",
		Short: "Fetch a feed now",
		Long: `Has the running collector fetch a feed now. A set that is empty, or less than half
of the one before, is refused unless --force is given.`,
		Example: "  sallyport-collector feeds fetch blocklist --force",
		Args:    cobra.ExactArgs(1),
	}
	force := cmd.Flags().Bool("force", false, "take a set that has shrunk")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a, err := c.admin()
		if err != nil {
			return err
		}
		path := "/feeds/" + url.PathEscape(args[0])
		if *force {
			path += "?force=true"
		}
		var o feeds.Outcome
		if err := a.Do(cmd.Context(), "POST", path, nil, &o); err != nil {
			return err
		}
		if o.Failure != "" {
			return fmt.Errorf("fetch feed %s: %s", args[0], printable(o.Failure))
		}
		_, err = fmt.Fprintf(c.stdout, "%s: %d indicators in force, %d of %d rows rejected, pack %s %d\n",
			printable(o.Name), o.Indicators, o.Report.Rejected, o.Report.Rows, printable(o.Pack), o.Version)
		return err
	}
	return cmd
}
