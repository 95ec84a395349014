package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sallyport/rules"
	"sallyport/rules/pack"
)

func newRulesShow(env environment) *cobra.Command {
	var packs []string
	cmd := &cobra.Command{
		Use:   "show ENTITY",
		Short: "Show all that is known of an entity, and on whose word",
		Long: `Show an entity, given by its id, name, another name or an actor tied to it: designations, names,
actors, owners, and every indicator with its sources.

Exit status: 0 shown, 1 no such entity, 2 error.`,
		Example: `  sallyport rules show "Integrity Technology Group"
  sallyport rules show flax-typhoon --pack vendor.pack --pack imported.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			entities, err := entitiesAt(packs)
			if err != nil {
				return err
			}
			found := findEntities(entities, args[0])
			if len(found) == 0 {
				fmt.Fprintf(env.stderr, "sallyport: no entity is called %q\n", args[0])
				return exitError{1}
			}
			for _, e := range found {
				if err := showEntity(env.stdout, e); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&packs, "pack", nil, "`PATH` of a pack, an entity file, an imported feed or a folder of them, instead of those that ship (repeatable)")
	return cmd
}

// entitiesAt reads what is at the paths: packs, whose signatures are not asked for
// here, and entity files; or what ships.
func entitiesAt(paths []string) ([]rules.Entity, error) {
	if len(paths) == 0 {
		return rules.Shipped()
	}
	var out []rules.Entity
	for _, path := range paths {
		var more []rules.Entity
		var err error
		if isPack(path) {
			var p *pack.Pack
			if p, err = pack.OpenUnverified(path); err == nil {
				more, err = p.Entities()
			}
		} else {
			more, err = rules.Load(path)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func loadEntities(paths []string) ([]rules.Entity, error) {
	if len(paths) == 0 {
		return rules.Shipped()
	}
	return rules.Load(paths...)
}

// findEntities gives every entity of this id or name: several packs may speak of
// one.
func findEntities(entities []rules.Entity, name string) []*rules.Entity {
	var out []*rules.Entity
	for i := range entities {
		e := &entities[i]
		called := e.ID == name || strings.EqualFold(e.Name, name) || slices.ContainsFunc(e.Aliases, func(a rules.Alias) bool { return strings.EqualFold(a.Name, name) }) ||
			slices.ContainsFunc(e.Actors, func(a rules.Actor) bool { return strings.EqualFold(a.Name, name) })
		if called {
			out = append(out, e)
		}
	}
	return out
}

func showEntity(w io.Writer, e *rules.Entity) error {
	s := shower{names: map[string]rules.Source{}}
	for _, source := range e.Sources {
		s.names[source.ID] = source
	}
	s.line("%s (%s), %s%s", e.Name, e.ID, e.Kind, ifSet(e.Test, ", test data"))
	if e.Note != "" {
		s.line("  %s", e.Note)
	}
	for _, a := range e.Aliases {
		s.line("  also known as %s, confidence %s%s", a.Name, a.Confidence, s.cited(a.Sources))
	}
	for _, d := range e.Designations {
		s.line("  designation: %s%s", designationLine(rules.DesignationRef{
			Authority: d.Authority, List: d.List, Programme: d.Programme, LegalBasis: d.LegalBasis, ListID: d.ListID,
			Designated: string(d.Designated), Lifted: string(d.Lifted), Reference: d.Reference, Note: d.Note,
		}), s.cited(d.Sources))
	}
	for _, a := range e.Actors {
		s.line("  actor: %s, confidence %s%s%s", a.Name, a.Confidence, label(", ", a.Note), s.cited(a.Sources))
	}
	for _, o := range e.Owners {
		s.line("  owner: %s%s holds %s%s", o.Entity, o.Name, percent(o.Percent), s.cited(o.Sources))
	}
	for i := range e.Indicators {
		s.indicator(&e.Indicators[i])
	}
	_, err := io.WriteString(w, s.String())
	return err
}

// shower writes an entity for a reader.
type shower struct {
	strings.Builder
	names map[string]rules.Source
}

func (s *shower) line(format string, args ...any) {
	s.WriteString(plain(fmt.Sprintf(format, args...)) + "\n")
}

func (s *shower) cited(ids []string) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = s.names[id].Name
	}
	return " [" + strings.Join(names, "; ") + "]"
}

func (s *shower) indicator(in *rules.Indicator) {
	holder := ""
	if in.Holder != nil {
		holder = ", held by " + in.Holder.Name + ifSet(!in.Holder.Listed, " which is not listed")
	}
	s.line("  %s %s, confidence %s%s%s%s%s%s", in.Type, in.Value, in.Confidence, label(", ", in.Role), label(", scope ", string(in.Scope)), holder,
		label(", seized ", string(in.Seized)), label(", ", in.Note))
	for _, c := range in.Sources {
		source := s.names[c.Source]
		s.line("    %s%s%s%s", source.Name, label(", ", string(source.Date)), seen(string(c.FirstSeen), string(c.LastSeen)), label(", ", c.Note))
	}
}
