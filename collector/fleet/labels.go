package fleet

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// GroupLabel is the label that says which group an agent is in.
const GroupLabel = "group"

// MaxLabels bounds an agent's labels.
const MaxLabels = 32

var (
	labelName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$`)
	labelValue = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._/-]{0,61}[A-Za-z0-9])?$`)
)

// SetLabel gives an agent a label, or takes it away where the value is empty.
func (f *Fleet) SetLabel(ctx context.Context, agent, name, value string) error {
	if !labelName.MatchString(name) {
		return fmt.Errorf("label %q: a name has up to 63 of a-z 0-9 . _ / -, and begins and ends with a letter or digit", name)
	}
	if value != "" && !labelValue.MatchString(value) {
		return fmt.Errorf("label %s=%q: a value has up to 63 letters, digits, spaces or . _ / -, and begins and ends with a letter or digit", name, value)
	}
	a, err := f.Agent(ctx, agent, time.Now())
	if err != nil {
		return err
	}
	if _, has := a.Labels[name]; value != "" && !has && len(a.Labels) >= MaxLabels {
		return fmt.Errorf("agent %s has %d labels already, which is the most", agent, MaxLabels)
	}
	return f.store.SetLabel(ctx, agent, name, value)
}

// Labelled keeps the agents that have all the labels, each "name=value" or
// "name" for any value.
func Labelled(agents []Agent, labels []string) []Agent {
	return slices.DeleteFunc(slices.Clone(agents), func(a Agent) bool {
		for _, l := range labels {
			name, value, exact := strings.Cut(l, "=")
			got, ok := a.Labels[name]
			if !ok || exact && got != value {
				return true
			}
		}
		return false
	})
}

// Directory gives every agent's labels by its name; an agent without any is there
// too.
func (f *Fleet) Directory(ctx context.Context) (map[string]map[string]string, error) {
	agents, err := f.store.Agents(ctx)
	if err != nil {
		return nil, err
	}
	labels, err := f.store.Labels(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]map[string]string, len(agents))
	for _, a := range agents {
		out[a.Name] = labels[a.Name]
	}
	return out, nil
}
