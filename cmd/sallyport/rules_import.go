package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/rules"
	"sallyport/rules/feed"
)

// importOptions are the flags of rules import.
type importOptions struct {
	output, entity         string
	source, date, link     string
	confidence, hash       string
	programmes             []string
	basic, token, key, ca  string
	allowPlainHTTP, forced bool
}

func newRulesImport(env environment) *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import KIND FILE|URL -o FILE.yaml",
		Short: "Turn a feed into an entity file",
		Long:  importHelp(),
		Example: `  sallyport rules import ofac SDN.XML -o cyber.yaml --programme CYBER2 --programme CYBER4
  sallyport rules import list partner.txt -o partner.yaml --entity "Some Entity" --source "Partner's list" --date 2026-11
  sallyport rules import taxii https://taxii.example/api/collections/ID/ -o taxii.yaml --token-file token`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), env, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "`FILE` to write; one that is there is replaced, unless the new set is under half of it")
	f.StringVar(&o.entity, "entity", "", "`NAME` or id of the entity that values of a plain list are tied to")
	f.StringVar(&o.source, "source", "", "`NAME` of the source, for the findings (default: the file's name)")
	f.StringVar(&o.date, "date", "", "`DATE` of the source, from which undated values age: 2024-09-18, 2024-09 or 2024 (default: today, and said so)")
	f.StringVar(&o.link, "reference", "", "`URL` where the source can be read")
	f.StringVar(&o.confidence, "confidence", "", "low, medium or high, for rows that state none (default low)")
	f.StringVar(&o.hash, "type", "", "what hashes are, where the format does not say (ja3, tls_cert_sha1, ...)")
	f.StringSliceVar(&o.programmes, "programme", nil, "of an OFAC list: only entries under this `TAG` (repeatable)")
	f.StringVar(&o.basic, "basic-file", "", "`FILE` that holds user:password")
	f.StringVar(&o.token, "token-file", "", "`FILE` that holds a bearer token")
	f.StringVar(&o.key, "key-file", "", "`FILE` that holds a MISP key")
	f.StringVar(&o.ca, "ca-file", "", "`FILE` of the authorities to trust, PEM")
	f.BoolVar(&o.allowPlainHTTP, "insecure", false, "allow http:// to other hosts")
	f.BoolVar(&o.forced, "force", false, "replace the file even by an empty or much smaller set")
	required(cmd, "output")
	return cmd
}

func importHelp() string {
	var b strings.Builder
	b.WriteString("Turn a feed into an entity file. Every row that cannot be used is counted and\nshown with its line and the reason. Kinds:\n\n")
	for _, i := range feed.Importers() {
		fmt.Fprintf(&b, "  %-10s %s\n", i.Kind, i.Doc)
	}
	b.WriteString("\nExit status: 0 written, 2 error; rejected rows are no error.")
	return b.String()
}

func (o *importOptions) run(ctx context.Context, env environment, kind, from string) error {
	entity, err := feed.EntityFor(o.entity)
	if err != nil {
		return err
	}
	if o.date != "" && !rules.Date(o.date).Known() {
		return fmt.Errorf("--date %q is no date: write 2024-09-18, 2024-09 or 2024", plain(o.date))
	}
	client := feed.DefaultClientConfig()
	client.BasicFile, client.TokenFile, client.KeyFile, client.CAFile, client.Insecure = o.basic, o.token, o.key, o.ca, o.allowPlainHTTP
	result, err := feed.Import(ctx, feed.Request{
		Kind: kind, From: from, Entity: entity, Confidence: rules.Confidence(o.confidence),
		Type: rules.IndicatorType(o.hash), Programmes: o.programmes, Client: client,
		Source: rules.Source{Name: o.source, Date: rules.Date(o.date), Reference: o.link},
	})
	if err != nil {
		return err
	}
	if _, err := result.Report.WriteTo(env.stderr); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	if err := replaceEntities(o.output, result.Entities, o.forced); err != nil {
		return fmt.Errorf("write %s: %w", o.output, err)
	}
	_, err = fmt.Fprintf(env.stdout, "%s: %d entities, %d indicators\n", plain(o.output), len(result.Entities), feed.Count(result.Entities)-len(result.Entities))
	return err
}

// replaceEntities writes the file whole or not at all.
func replaceEntities(path string, entities []rules.Entity, forced bool) error {
	before, err := rules.Load(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !forced {
		return fmt.Errorf("read what it holds now: %w", err)
	}
	if err := feed.CheckSize(feed.Count(before), feed.Count(entities), forced); err != nil {
		return err
	}
	return writeWhole(path, func(w io.Writer) error { return feed.Write(w, entities) })
}
