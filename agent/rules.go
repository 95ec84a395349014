package agent

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"sallyport/rules"
)

// RulesConfig is what observations are judged by.
type RulesConfig struct {
	Shipped       bool     `yaml:"shipped"`        // the entities and detections that ship with this build
	Entities      []string `yaml:"entities"`       // entity files, or folders of them
	Detections    []string `yaml:"detections"`     // folders of Sigma rules
	Enable        []string `yaml:"enable"`         // ids of detections that ship switched off
	AllowList     string   `yaml:"allow_list"`     // file; empty: none
	ApprovedTools string   `yaml:"approved_tools"` // file; empty: none
}

// DefaultRulesConfig judges by what ships.
func DefaultRulesConfig() RulesConfig { return RulesConfig{Shipped: true} }

// Validate says what is wrong and what to write instead.
func (c RulesConfig) Validate() error {
	if !c.Shipped && len(c.Entities) == 0 {
		return errors.New("rules: no entities: set rules.shipped to true or name rules.entities")
	}
	return nil
}

// loadJudge reads everything the configuration names: all of it or nothing.
func loadJudge(c RulesConfig, host, version string) (*rules.Judge, *rules.Set, error) {
	set, err := loadSet(c)
	if err != nil {
		return nil, nil, err
	}
	detections, err := loadDetections(c)
	if err != nil {
		return nil, nil, err
	}
	judge := &rules.Judge{
		Detections: rules.Enabled(detections, c.Enable...),
		Agent:      rules.AgentInfo{Name: host, Version: version, Pack: joined(set.PackNames())},
	}
	if c.AllowList != "" {
		if judge.Allow, err = rules.LoadAllowList(c.AllowList); err != nil {
			return nil, nil, err
		}
	}
	if c.ApprovedTools != "" {
		if judge.Approved, err = rules.LoadApprovedTools(c.ApprovedTools); err != nil {
			return nil, nil, err
		}
	}
	return judge, set, nil
}

func loadSet(c RulesConfig) (*rules.Set, error) {
	b := rules.NewBuilder(rules.Options{})
	if c.Shipped {
		shipped, err := rules.Shipped()
		if err != nil {
			return nil, err
		}
		if err := addPack(b, rules.ShippedPack(), shipped); err != nil {
			return nil, err
		}
	}
	for _, path := range c.Entities {
		local, err := rules.Load(path)
		if err != nil {
			return nil, err
		}
		st, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read entities: %w", err)
		}
		if err := addPack(b, rules.Pack{Name: path, Date: st.ModTime().UTC()}, local); err != nil {
			return nil, err
		}
	}
	return b.Set()
}

func addPack(b *rules.Builder, p rules.Pack, entities []rules.Entity) error {
	b.Pack(p)
	for _, e := range entities {
		if err := b.Entity(e); err != nil {
			return fmt.Errorf("compile %s: %w", p, err)
		}
	}
	return nil
}

func loadDetections(c RulesConfig) ([]*rules.SigmaRule, error) {
	var all []*rules.SigmaRule
	if c.Shipped {
		shipped, err := rules.ShippedSigmaRules()
		if err != nil {
			return nil, err
		}
		all = shipped
	}
	for _, folder := range c.Detections {
		if st, err := os.Stat(folder); err != nil || !st.IsDir() {
			return nil, fmt.Errorf("rules.detections: %s is not a folder of Sigma rules", folder)
		}
		own, err := rules.LoadSigmaRules(os.DirFS(folder), nil)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}
		all = append(all, own...)
	}
	return all, nil
}

// CheckRules reads what the configuration names and counts its indicators.
func CheckRules(c Config) (indicators int, err error) {
	_, set, err := loadJudge(c.Rules, c.Host, "")
	if err != nil {
		return 0, err
	}
	return set.Len(), nil
}

func joined(names []string) string { return strings.Join(names, ", ") }
