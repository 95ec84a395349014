package packs

import (
	"context"
	"path"
	"slices"
	"strings"
)

// groupLabel is the label that puts an agent into the group of its value.
const groupLabel = "group"

// has says whether an agent is in the group.
func (g Group) has(agent string, labels map[string]string) bool {
	for _, pattern := range g.Agents {
		if ok, err := path.Match(pattern, agent); ok && err == nil {
			return true
		}
	}
	if len(g.Labels) == 0 {
		return len(g.Agents) == 0 && labels[groupLabel] == g.Name
	}
	for _, l := range g.Labels {
		name, value, exact := strings.Cut(l, "=")
		got, ok := labels[name]
		if !ok || exact && got != value {
			return false
		}
	}
	return true
}

// byLabel says whether labels matter to the group.
func (g Group) byLabel() bool { return len(g.Labels) > 0 || len(g.Agents) == 0 }

// groupsOf lists an agent's groups, its own before that of all.
func (c Config) groupsOf(agent string, labels map[string]string) []string {
	var out []string
	for _, g := range c.Groups {
		if g.has(agent, labels) {
			out = append(out, g.Name)
		}
	}
	return append(out, All)
}

// directory gives the agents' labels, where a group asks for them.
func (p *Packs) directory(ctx context.Context) (map[string]map[string]string, error) {
	if p.Directory == nil || !slices.ContainsFunc(p.cfg.Groups, Group.byLabel) {
		return nil, nil
	}
	return p.Directory(ctx)
}

// Assignment is a group, who is in it now, and what they are offered.
type Assignment struct {
	Group
	Members []string `json:"members"`
	Packs   []Held   `json:"packs"`
}

// Assignments lists every group, that of all agents last.
func (p *Packs) Assignments(ctx context.Context) ([]Assignment, error) {
	held, err := p.List()
	if err != nil {
		return nil, err
	}
	labels := map[string]map[string]string{}
	if p.Directory != nil {
		if labels, err = p.Directory(ctx); err != nil {
			return nil, err
		}
	}
	var out []Assignment
	for _, g := range append(slices.Clone(p.cfg.Groups), Group{Name: All, Agents: []string{"*"}}) {
		a := Assignment{Group: g, Members: []string{}, Packs: []Held{}}
		a.Agents, a.Labels = append([]string{}, g.Agents...), append([]string{}, g.Labels...) // lists, also where empty
		for agent := range labels {
			if g.has(agent, labels[agent]) {
				a.Members = append(a.Members, agent)
			}
		}
		slices.Sort(a.Members)
		for _, h := range held {
			if h.Group == g.Name {
				a.Packs = append(a.Packs, h)
			}
		}
		out = append(out, a)
	}
	return out, nil
}
