package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"sallyport/rules"
	"sallyport/rules/pack"
)

func newRulesLint(env environment) *cobra.Command {
	return &cobra.Command{
		Use:   "lint PATH...",
		Short: "Check entity files, detections, packs, allow-lists and approved tools",
		Long: `Check files, or folders of them: entity files, Sigma rules, allow-lists and
approved-tools files are told apart by their keys. Each fault is printed with
its file, line, column and remedy.

Exit status: 0 no fault, 1 faults, 2 error.`,
		Example: `  sallyport rules lint my-entities/ my-detections/ allow.yaml
  sallyport rules lint signed.pack`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			l := linter{places: map[string]string{}}
			for _, path := range args {
				if err := l.path(path); err != nil {
					return fmt.Errorf("lint %s: %w", path, err)
				}
			}
			l.together()
			for _, fault := range l.faults {
				fmt.Fprintln(env.stdout, plain(fault))
			}
			fmt.Fprintf(env.stdout, "%d files: %d entities, %d detections, %d faults\n", l.files, len(l.entities), l.detections, len(l.faults))
			if len(l.faults) > 0 {
				return exitError{1}
			}
			return nil
		},
	}
}

// linter collects the faults of all files.
type linter struct {
	files, detections int
	entities          []rules.Entity
	places            map[string]string // of an entity's id: "file:line"
	broken            bool              // an entity file is, so that owners may be missing
	faults            []string
}

func (l *linter) path(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if isPack(path) {
			return l.pack(path)
		}
		if ext := filepath.Ext(path); path != root && ext != ".yaml" && ext != ".yml" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		l.files++
		l.file(path, data)
		return nil
	})
}

// pack reads a pack whole; its signature is not asked for.
func (l *linter) pack(path string) error {
	l.files++
	p, err := pack.OpenUnverified(path)
	if err != nil {
		l.fault(err)
		return nil
	}
	entities, err := p.Entities()
	if err != nil {
		l.broken = true
		l.fault(err)
	}
	detections, err := p.Detections(nil)
	if err != nil {
		l.fault(err)
	}
	for i := range entities {
		l.entity(&entities[i], path)
	}
	l.detections += len(detections)
	return nil
}

func (l *linter) file(path string, data []byte) {
	switch kindOf(data) {
	case "detection":
		l.detections++
		if _, err := rules.ParseSigmaRule(path, data, nil); err != nil {
			l.fault(err)
		}
	case "allow":
		if _, err := rules.LoadAllowList(path); err != nil {
			l.fault(err)
		}
	case "approved":
		if _, err := rules.LoadApprovedTools(path); err != nil {
			l.fault(err)
		}
	default:
		entities, err := rules.ParseEntities(path, data)
		if err != nil {
			l.broken = true
			l.fault(err)
			return
		}
		for i := range entities {
			l.entity(&entities[i], fmt.Sprintf("%s:%d", path, lineOf(data, entities[i].ID)))
		}
	}
}

// entity keeps an entity, the first of each id.
func (l *linter) entity(e *rules.Entity, place string) {
	if other, twice := l.places[e.ID]; twice {
		l.faults = append(l.faults, fmt.Sprintf("%s: the id %q is used in %s too; give each entity its own", place, e.ID, other))
		return
	}
	l.places[e.ID] = place
	l.entities = append(l.entities, *e)
}

// lineOf is the line that gives an entity its id.
func lineOf(data []byte, id string) int {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		key, value, _ := strings.Cut(strings.TrimLeft(line, "- "), ":")
		if key == "id" && strings.Trim(strings.TrimSpace(value), `"'`) == id {
			return n
		}
	}
	return 1
}

// kindOf tells files apart by keys that only one of them has at its top. What
// does not say is taken for an entity, whose parser says what is wrong.
func kindOf(data []byte) string {
	for _, key := range []string{"detection", "allow", "approved"} {
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, key+":") {
				return key
			}
		}
	}
	return "entity"
}

func (l *linter) fault(err error) {
	var faults rules.Faults
	if !errors.As(err, &faults) {
		l.faults = append(l.faults, err.Error())
		return
	}
	for _, f := range faults {
		l.faults = append(l.faults, f.Error())
	}
}

// together checks what only shows between files: owners and cycles.
func (l *linter) together() {
	if l.broken || len(l.entities) == 0 {
		return
	}
	_, err := rules.Compile(rules.Pack{Name: "lint"}, l.entities, rules.Options{})
	var between *rules.EntityError
	switch {
	case errors.As(err, &between):
		l.faults = append(l.faults, l.places[between.ID]+": "+between.Message)
	case err != nil:
		l.faults = append(l.faults, err.Error())
	}
}

// readYAML reads a strict YAML file of our own.
func readYAML(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalWithOptions(data, into, yaml.Strict()); err != nil {
		return fmt.Errorf("read %s: %s", path, yaml.FormatError(err, false, true))
	}
	return nil
}
