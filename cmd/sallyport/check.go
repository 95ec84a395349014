package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/rules"
)

// checkAnswer is the answer for one value.
type checkAnswer struct {
	Value   string        `json:"value"`
	Tied    bool          `json:"tied"`
	Packs   []string      `json:"packs"`
	AsOf    string        `json:"as_of"` // date of the packs' content
	Matches []rules.Match `json:"matches"`
}

func newCheck(env environment) *cobra.Command {
	var packs []string
	var format string
	cmd := &cobra.Command{
		Use:   "check VALUE...",
		Short: "Say whether an address, prefix, name or certificate hash is tied to an entity, and why",
		Long: `Say whether a value is tied to an entity, by which indicator, on whose word, and
under which designation. VALUE is an address, a prefix, an autonomous system
(AS64496), a DNS name or URL, a certificate's SHA-1 or SHA-256, a JA3, JA4 or
HASSH fingerprint. Defanged spellings (198[.]51[.]100[.]7, hxxp://) are read.

That a value is in no pack says nothing more than that.

Exit status: 0 a value is tied, 1 none is, 2 error.`,
		Example: `  sallyport check 198.51.100.7 www.example.com
  sallyport check --pack vendor.pack --pack imported.yaml -o json AS64496`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("output format %q: use text or json", format)
			}
			set, err := loadSet(packs)
			if err != nil {
				return err
			}
			return check(env.stdout, set, args, format)
		},
	}
	cmd.Flags().StringArrayVar(&packs, "pack", nil, "`PATH` of a pack, an entity file, an imported feed or a folder of them, instead of the packs that ship (repeatable)")
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

// loadSet compiles the packs at the paths, or those that ship.
func loadSet(paths []string) (*rules.Set, error) {
	if len(paths) == 0 {
		return rules.ShippedSet(rules.Options{})
	}
	b := rules.NewBuilder(rules.Options{})
	for _, path := range paths {
		if err := feedPack(b, path); err != nil {
			return nil, err
		}
	}
	return b.Set()
}

func check(w io.Writer, set *rules.Set, values []string, format string) error {
	answers := make([]checkAnswer, 0, len(values))
	tied := false
	for _, value := range values {
		matches, err := set.Lookup(value, time.Now())
		if err != nil {
			return fmt.Errorf("check %q: %w", value, err)
		}
		tied = tied || len(matches) > 0
		answers = append(answers, checkAnswer{value, len(matches) > 0, set.PackNames(), set.Date().Format(time.DateOnly), matches})
	}
	if err := printAnswers(w, answers, format); err != nil {
		return fmt.Errorf("print answer: %w", err)
	}
	if !tied {
		return exitError{1}
	}
	return nil
}

func printAnswers(w io.Writer, answers []checkAnswer, format string) error {
	if format == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(answers)
	}
	var b strings.Builder
	for i := range answers {
		writeAnswer(&b, &answers[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeAnswer(b *strings.Builder, a *checkAnswer) {
	if !a.Tied {
		fmt.Fprintf(b, "%s: not in packs %s as of %s%s\n", plain(a.Value), plain(strings.Join(a.Packs, ", ")), a.AsOf,
			ifSet(rules.NeverApex(a.Value), "; strangers share the names below it, so that it can be no indicator"))
		return
	}
	fmt.Fprintf(b, "%s: in packs %s as of %s\n", plain(a.Value), plain(strings.Join(a.Packs, ", ")), a.AsOf)
	for i := range a.Matches {
		writeMatch(b, &a.Matches[i])
	}
}

// writeMatch writes one match with its provenance and the legal acts.
func writeMatch(b *strings.Builder, m *rules.Match) {
	in := &m.Indicator
	fmt.Fprintf(b, "  %s\n", plain(m.Statement))
	fmt.Fprintf(b, "    entity:      %s (%s)%s\n", plain(m.Entity.Name), plain(m.Entity.ID), ifSet(m.Entity.Test, ", test data"))
	fmt.Fprintf(b, "    indicator:   %s %s, confidence %s, %s%s\n", plain(in.Type), plain(in.Value), plain(in.Confidence), plain(in.Age), label(", role: ", in.Role))
	if len(in.Ports) > 0 {
		fmt.Fprintf(b, "    ports:       %s\n", strings.Trim(fmt.Sprint(in.Ports), "[]"))
	}
	if in.Holder != nil {
		fmt.Fprintf(b, "    holder:      %s%s\n", plain(in.Holder.Name), ifSet(!in.Holder.Listed, ", which is not listed"))
	}
	if in.ValidFrom != "" || in.ValidTo != "" || in.Checked != "" {
		fmt.Fprintf(b, "    valid:       %s\n", strings.TrimPrefix(label(", from ", in.ValidFrom)+label(", until ", in.ValidTo)+label(", last checked ", in.Checked), ", "))
	}
	if in.Note != "" {
		fmt.Fprintf(b, "    note:        %s\n", plain(in.Note))
	}
	for _, s := range in.Sources {
		fmt.Fprintf(b, "    source:      %s%s%s%s%s\n", plain(s.Name), label(", ", s.Date), seen(s.FirstSeen, s.LastSeen), label(", ", s.Note), label(", ", s.Reference))
	}
	for _, d := range m.Designations {
		fmt.Fprintf(b, "    designation: %s\n", designationLine(d))
	}
	for _, link := range m.Ownership {
		fmt.Fprintf(b, "    possibly blocked by ownership: %s\n", plain(link))
	}
}

func designationLine(d rules.DesignationRef) string {
	date := "date unknown"
	if d.Designated != "" {
		date = "designated " + d.Designated
	}
	return plain(d.Authority) + label(", ", d.List) + label(", programme ", d.Programme) + label(", ", d.LegalBasis) +
		label(", list id ", d.ListID) + ", " + plain(date) + label(", lifted ", d.Lifted) + label(", ", d.Reference) + label(", ", d.Note)
}

func seen(first, last string) string {
	if first == "" && last == "" {
		return ""
	}
	return ", seen" + label(" from ", first) + label(" until ", last)
}

// label is the text with its label, or nothing.
func label(name, text string) string {
	if text == "" {
		return ""
	}
	return name + plain(text)
}

func ifSet(set bool, text string) string {
	if set {
		return text
	}
	return ""
}
