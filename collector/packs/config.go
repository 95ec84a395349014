// Package packs offers signed packs to agents, group by group. The collector
// signs nothing for others: it offers what verifies under the pinned root, and
// agents verify again.
package packs

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"sallyport/rules/pack"
)

// All is the group of every agent.
const All = "all"

// Config says what is offered to whom.
type Config struct {
	// Folder holds a folder of packs for each group. Empty: "packs" in state_dir.
	Folder string `yaml:"folder"`
	// Root is the file of the public key of the root that packs are signed under.
	// Empty: no packs are offered.
	Root string `yaml:"root"`
	// Groups of agents that are offered packs of their own beside those of "all".
	Groups []Group `yaml:"groups"`
}

// Group is agents by name or by label. One that names neither is of the agents
// that have the label group=NAME.
type Group struct {
	Name   string   `yaml:"name" json:"name"`
	Agents []string `yaml:"agents" json:"agents"` // names, or patterns as of path.Match
	Labels []string `yaml:"labels" json:"labels"` // name=value, or name for any value; an agent must have them all
}

// DefaultConfig offers nothing.
func DefaultConfig() Config { return Config{Groups: []Group{}} }

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error {
	for what, p := range map[string]string{"folder": c.Folder, "root": c.Root} {
		if p != "" && !filepath.IsAbs(p) {
			return fmt.Errorf("packs.%s is %q; give an absolute path", what, p)
		}
	}
	seen := map[string]bool{All: true}
	for _, g := range c.Groups {
		if !pack.ValidName(g.Name) {
			return fmt.Errorf("packs.groups: name %q; use lower-case letters, digits and hyphens", g.Name)
		}
		if seen[g.Name] {
			return fmt.Errorf("packs.groups: %q is named twice, or is the group of all", g.Name)
		}
		seen[g.Name] = true
		for _, pattern := range g.Agents {
			if _, err := path.Match(pattern, ""); err != nil {
				return fmt.Errorf("packs.groups: %s: %q is no pattern; check its brackets", g.Name, pattern)
			}
		}
		for _, l := range g.Labels {
			if name, value, exact := strings.Cut(l, "="); name == "" || exact && value == "" {
				return fmt.Errorf("packs.groups: %s: label %q; write name=value, or name for any value", g.Name, l)
			}
		}
	}
	return nil
}

// Known says whether there is such a group.
func (c Config) Known(group string) bool {
	for _, g := range c.Groups {
		if g.Name == group {
			return true
		}
	}
	return group == All
}
