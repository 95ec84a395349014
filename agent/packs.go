package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sallyport/agent/deliver"
	"sallyport/rules"
	"sallyport/rules/pack"
)

const (
	seenFile    = "packs-seen.json" // in the state folder: what packs must not fall behind
	fetchedDir  = "packs-fetched"   // in the state folder: packs from the collector
	packPattern = "*.pack"          // of the files of a folder that are packs
)

// packs are the signed packs that a configuration puts in force, by the order in
// which they are compiled: the vendor's first, so that what a local one says of
// the same entity only adds.
type packs struct {
	list     []*pack.Pack
	shipped  bool // whether what ships with this build is in force beside them
	seen     pack.Seen
	problems []string // packs that are not in force though they lie there
}

// openPacks verifies every pack the configuration names. One that cannot be
// verified is an error; one that came from the collector is left out and told of
// instead, since the collector sends it again.
func openPacks(cfg Config) (*packs, error) {
	c := cfg.Rules
	out := &packs{shipped: c.Shipped}
	if len(c.Packs) == 0 && !c.Fetch.Enabled {
		return out, nil
	}
	trust, err := packTrust(cfg)
	if err != nil {
		return nil, err
	}
	named, err := packFiles(c.Packs)
	if err != nil {
		return nil, err
	}
	o := opener{trust: trust, byName: map[string]*pack.Pack{}, fetched: map[*pack.Pack]bool{}}
	for _, file := range named {
		if err := o.take(file, false); err != nil {
			return nil, fmt.Errorf("rules.packs: %w", err)
		}
	}
	if c.Fetch.Enabled {
		fetched, err := filepath.Glob(filepath.Join(cfg.StateDir, fetchedDir, packPattern))
		if err != nil {
			return nil, fmt.Errorf("list fetched packs: %w", err)
		}
		for _, file := range fetched {
			if err := o.take(file, true); err != nil {
				out.problems = append(out.problems, notInForce+err.Error())
			}
		}
	}
	if err := o.settle(out); err != nil {
		return nil, fmt.Errorf("rules.packs: %w", err)
	}
	return out, out.relate()
}

// packTrust is the pinned root, and what was in force so far.
func packTrust(cfg Config) (pack.Trust, error) {
	file := cfg.Rules.Trust
	if file == "" {
		file = filepath.Join(cfg.Deliver.Collector.IdentityDir, deliver.PackRootFile)
	}
	root, err := pack.ReadPublicKey(file)
	if errors.Is(err, os.ErrNotExist) {
		return pack.Trust{}, fmt.Errorf("rules.trust: %w; name the public key of the root that packs are signed under, or enrol with a collector that knows it", err)
	}
	if err != nil {
		return pack.Trust{}, fmt.Errorf("rules.trust: %w", err)
	}
	seen, err := pack.ReadSeen(filepath.Join(cfg.StateDir, seenFile))
	if err != nil {
		return pack.Trust{}, fmt.Errorf("read which packs were in force: %w", err)
	}
	return pack.Trust{Root: root, Seen: seen}, nil
}

// packFiles lists the packs at the paths: files, or folders of *.pack.
func packFiles(paths []string) ([]string, error) {
	var out []string
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("rules.packs: %w", err)
		}
		if !st.IsDir() {
			out = append(out, path)
			continue
		}
		inside, err := filepath.Glob(filepath.Join(path, packPattern))
		if err != nil {
			return nil, fmt.Errorf("rules.packs: %w", err)
		}
		out = append(out, inside...)
	}
	return out, nil
}

// opener keeps the newest of the packs of each name.
type opener struct {
	trust  pack.Trust
	byName map[string]*pack.Pack
	older  []olderFile

	fetched map[*pack.Pack]bool // of those kept, the collector's
}

// notInForce begins what is said of a pack that the collector will send again.
const notInForce = "a pack of the collector is not in force: "

// olderFile is a pack that falls behind what was in force: harmless where a
// newer one of its name lies beside it.
type olderFile struct {
	name    string
	err     error
	fetched bool
}

func (o *opener) take(file string, fetched bool) error {
	p, err := pack.Open(file, o.trust)
	var older *pack.OlderError
	if errors.As(err, &older) {
		o.older = append(o.older, olderFile{older.Name, err, fetched})
		return nil
	}
	if err != nil {
		return err
	}
	other := o.byName[p.Manifest.Name]
	switch {
	case other == nil || other.Manifest.Version < p.Manifest.Version:
		o.byName[p.Manifest.Name], o.fetched[p] = p, fetched
	case other.Manifest.Version == p.Manifest.Version && other.Digest != p.Digest:
		return fmt.Errorf("%s: another pack %s with other content is named too; remove the wrong one", file, p.Ref())
	}
	return nil
}

// settle orders what was taken, and says what will have been in force.
func (o *opener) settle(out *packs) error {
	for _, old := range o.older {
		if o.byName[old.name] != nil {
			continue
		}
		if !old.fetched {
			return old.err
		}
		out.problems = append(out.problems, notInForce+old.err.Error())
	}
	for _, p := range o.byName {
		out.list = append(out.list, p)
	}
	slices.SortFunc(out.list, func(a, b *pack.Pack) int {
		if a.Role != b.Role {
			return map[bool]int{true: -1, false: 1}[a.Role == pack.RoleVendor]
		}
		return map[bool]int{true: -1, false: 1}[a.Manifest.Name < b.Manifest.Name]
	})
	out.seen = o.trust.Seen
	for _, p := range out.list {
		out.seen = out.seen.Accept(p)
	}
	var kept []*pack.Pack
	for _, p := range out.list {
		if p.Serial >= out.seen.Serials[p.Role] {
			kept = append(kept, p)
			continue
		}
		err := fmt.Errorf("pack %s: %w: its key %s was replaced by the one another pack is signed with; sign it anew", p.Ref(), pack.ErrUntrusted, p.KeyID)
		if !o.fetched[p] {
			return err
		}
		out.problems = append(out.problems, notInForce+err.Error())
	}
	out.list = kept
	return nil
}

// relate holds local packs to adding, and decides between what ships with this
// build and a pack of the same name: the newer of the two is in force.
func (ps *packs) relate() error {
	shipped := rules.ShippedPack()
	var kept []*pack.Pack
	for _, p := range ps.list {
		if p.Role == pack.RoleLocal {
			if p.Manifest.Name == shipped.Name {
				return fmt.Errorf("rules.packs: %w: the name %q is the vendor's", pack.ErrLocalChanges, shipped.Name)
			}
			for _, v := range kept {
				if v.Role != pack.RoleVendor {
					continue
				}
				if err := pack.CheckLocal(v, p); err != nil {
					return fmt.Errorf("rules.packs: pack %s beside %s: %w", p.Ref(), v.Ref(), err)
				}
			}
		}
		if ps.shipped && p.Manifest.Name == shipped.Name {
			if p.Manifest.Created.Before(shipped.Date) {
				ps.problems = append(ps.problems, fmt.Sprintf("pack %s is not in force: what ships with this version is newer", p.Ref()))
				continue
			}
			ps.shipped = false
		}
		kept = append(kept, p)
	}
	ps.list = kept
	return nil
}

// of gives the vendor's packs, or all others.
func (ps *packs) of(vendor bool) []*pack.Pack {
	var out []*pack.Pack
	for _, p := range ps.list {
		if (p.Role == pack.RoleVendor) == vendor {
			out = append(out, p)
		}
	}
	return out
}

// standing is what the agent remembers of packs once they are compiled.
type standing struct {
	terms    []pack.Term
	shrinks  map[string]string // digest of a pack that may hold much less than the one before, to who says so
	tables   []asnSource
	problems []string
}

func (ps *packs) standing() (*standing, error) {
	s := &standing{problems: ps.problems, shrinks: map[string]string{}}
	for _, p := range ps.list {
		s.terms = append(s.terms, p.Term())
		if p.Manifest.Shrinks {
			s.shrinks[p.Digest] = fmt.Sprintf("pack %s, signed with the %s key %s", p.Ref(), p.Role, p.KeyID)
		}
		table, err := p.ASN()
		if err != nil {
			return nil, err
		}
		if table != nil {
			s.tables = append(s.tables, asnSource{p.Ref(), table})
		}
	}
	return s, nil
}

// shrinkers names the packs that may take much out of force and were not in
// force before: a signer's word counts once.
func (s *standing) shrinkers(before *standing) string {
	var out []string
	for _, digest := range sortedKeys(s.shrinks) {
		if before == nil || before.shrinks[digest] == "" {
			out = append(out, s.shrinks[digest])
		}
	}
	return joined(out)
}

// stale names the packs that should have been replaced by now, and why.
func (s *standing) stale(now time.Time) map[string]string {
	out := map[string]string{}
	if s == nil {
		return out
	}
	for _, t := range s.terms {
		if reason, stale := t.Stale(now); stale {
			out[t.Pack.Name] = reason + "; it stays in force until a newer one comes"
		}
	}
	return out
}

// complaints is all that is wrong with the packs, in words.
func (s *standing) complaints(now time.Time) []string {
	if s == nil {
		return nil
	}
	stale := s.stale(now)
	out := slices.Clone(s.problems)
	for _, name := range sortedKeys(stale) {
		out = append(out, stale[name])
	}
	return out
}
