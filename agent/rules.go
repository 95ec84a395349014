package agent

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"sallyport/agent/packfetch"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// RulesConfig is what observations are judged by.
type RulesConfig struct {
	Shipped       bool             `yaml:"shipped"`        // the entities and detections that ship with this build
	Entities      []string         `yaml:"entities"`       // entity files, or folders of them
	Detections    []string         `yaml:"detections"`     // folders of Sigma rules
	Enable        []string         `yaml:"enable"`         // ids of detections that ship switched off
	AllowList     string           `yaml:"allow_list"`     // file; empty: none
	ApprovedTools string           `yaml:"approved_tools"` // file; empty: none
	Own           []netip.Prefix   `yaml:"own"`            // the operator's own prefixes: never attributed to anyone
	Packs         []string         `yaml:"packs"`          // signed packs, or folders of *.pack
	Trust         string           `yaml:"trust"`          // file of the public key of the root that packs are signed under; empty: as enrolled
	Fetch         packfetch.Config `yaml:"fetch"`          // packs from the collector
}

// DefaultRulesConfig judges by what ships.
func DefaultRulesConfig() RulesConfig {
	return RulesConfig{Shipped: true, Fetch: packfetch.DefaultConfig()}
}

// Validate says what is wrong and what to write instead.
func (c RulesConfig) Validate() error {
	signed := len(c.Packs) > 0 || c.Fetch.Enabled
	switch {
	case !c.Shipped && len(c.Entities) == 0 && !signed:
		return errors.New("rules: no entities: set rules.shipped to true, or name rules.entities or rules.packs")
	}
	for _, p := range c.Own {
		if !p.IsValid() || p.Bits() == 0 {
			return fmt.Errorf("rules.own: %s is not a prefix of yours: write it like 198.51.100.0/24", p)
		}
	}
	return c.Fetch.Validate()
}

// loaded is everything the configuration names, read and compiled.
type loaded struct {
	judge    *rules.Judge
	set      *rules.Set
	seen     pack.Seen // once this is in force
	standing *standing
	systems  *systems
}

// loadRules reads everything the configuration names: all of it or nothing.
func loadRules(cfg Config, version string) (*loaded, error) {
	ps, err := openPacks(cfg)
	if err != nil {
		return nil, err
	}
	return compile(cfg.Rules, ps, cfg.Enrich.GeoIP.ASN, rules.AgentInfo{Name: cfg.Host, Version: version})
}

// startRules is loadRules for an agent that starts. A pack of the collector that
// fitted beside an older version of this program, and does not fit any more, must
// not keep the agent from starting: it is left out and told of.
func startRules(cfg Config, version string) (*loaded, error) {
	l, err := loadRules(cfg, version)
	if !cfg.Rules.Fetch.Enabled || !errors.Is(err, pack.ErrLocalChanges) {
		return l, err
	}
	cfg.Rules.Fetch.Enabled = false
	without, still := loadRules(cfg, version)
	if still != nil {
		return nil, err
	}
	without.standing.problems = append(without.standing.problems, notInForce+err.Error())
	return without, nil
}

// compile makes of packs and files what observations are judged by.
func compile(c RulesConfig, ps *packs, asnDatabase string, agent rules.AgentInfo) (*loaded, error) {
	out := &loaded{seen: ps.seen}
	var err error
	if out.set, err = loadSet(c, ps); err != nil {
		return nil, err
	}
	detections, err := loadDetections(c, ps)
	if err != nil {
		return nil, err
	}
	agent.Pack = joined(out.set.PackNames())
	out.judge = &rules.Judge{Detections: rules.Enabled(detections, c.Enable...), Agent: agent}
	if err := loadPolicies(c, ps, out.judge); err != nil {
		return nil, err
	}
	if out.standing, err = ps.standing(); err != nil {
		return nil, err
	}
	out.systems, err = resolveSystems(out.set, asnDatabase, out.standing.tables)
	return out, err
}

// loadSet compiles the vendor's packs, what ships, local packs, and files of the
// host's own, in this order: an entity is what the first of them says it is.
func loadSet(c RulesConfig, ps *packs) (*rules.Set, error) {
	b := rules.NewBuilder(rules.Options{Own: c.Own})
	listed := 0
	for _, p := range ps.list {
		listed += p.Count()
	}
	if listed > 0 {
		b.Reserve(listed, 0)
	}
	for _, p := range ps.of(true) {
		if err := p.Feed(b); err != nil {
			return nil, err
		}
	}
	if ps.shipped {
		shipped, err := rules.Shipped()
		if err != nil {
			return nil, err
		}
		if err := addPack(b, rules.ShippedPack(), shipped); err != nil {
			return nil, err
		}
	}
	for _, p := range ps.of(false) {
		if err := p.Feed(b); err != nil {
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

// loadDetections reads detections in the order of loadSet. A pack cannot put one
// in the place of another: an id is used once.
func loadDetections(c RulesConfig, ps *packs) ([]*rules.SigmaRule, error) {
	var all []*rules.SigmaRule
	if ps.shipped {
		shipped, err := rules.ShippedSigmaRules()
		if err != nil {
			return nil, err
		}
		all = shipped
	}
	from := map[string]string{}
	for _, r := range all {
		from[r.ID] = "what ships"
	}
	for _, p := range ps.list {
		list, err := p.Detections(nil)
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", p.Ref(), err)
		}
		for _, r := range list {
			if other, twice := from[r.ID]; twice {
				return nil, fmt.Errorf("pack %s: %w: detection %s (%s) is in %s already: give it an id of its own", p.Ref(), pack.ErrLocalChanges, r.ID, r.Title, other)
			}
			from[r.ID] = "pack " + p.Ref().String()
		}
		all = append(all, list...)
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

// loadPolicies reads what silences findings: the host's own files first, then
// what packs hold.
func loadPolicies(c RulesConfig, ps *packs, j *rules.Judge) error {
	j.Allow, j.Approved = &rules.AllowList{}, &rules.ApprovedTools{}
	if c.AllowList != "" {
		list, err := rules.LoadAllowList(c.AllowList)
		if err != nil {
			return err
		}
		j.Allow = list
	}
	if c.ApprovedTools != "" {
		tools, err := rules.LoadApprovedTools(c.ApprovedTools)
		if err != nil {
			return err
		}
		j.Approved = tools
	}
	for _, p := range ps.list {
		allow, approved, err := p.Policies()
		if err != nil {
			return fmt.Errorf("pack %s: %w", p.Ref(), err)
		}
		if allow != nil {
			j.Allow.Allow = append(j.Allow.Allow, allow.Allow...)
		}
		if approved != nil {
			j.Approved.Approved = append(j.Approved.Approved, approved.Approved...)
		}
	}
	return nil
}

// CheckRules reads what the configuration names and counts its indicators.
func CheckRules(c Config) (indicators int, err error) {
	l, err := loadRules(c, "")
	if err != nil {
		return 0, err
	}
	return l.set.Len(), nil
}

// accept notes on disk what is in force now, so that nothing older takes its
// place after a restart either.
func (l *loaded) accept(stateDir string) error {
	if len(l.standing.terms) == 0 {
		return nil
	}
	return pack.WriteSeen(filepath.Join(stateDir, seenFile), l.seen)
}

func joined(names []string) string { return strings.Join(names, ", ") }
