package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gaissmai/bart"

	"sallyport/agent/enrich"
	"sallyport/agent/sensor"
	"sallyport/rules"
	"sallyport/rules/pack"
)

// asnSource is a pack's table of the prefixes of autonomous systems.
type asnSource struct {
	pack  rules.Pack
	table *pack.ASNTable
}

// systems is the prefixes of the autonomous systems that indicators name, as the
// ASN database has them, or as packs had them when they were built. It is
// immutable.
type systems struct {
	byPrefix bart.Table[system]
	prefixes []netip.Prefix
}

// system is an autonomous system and whose word it is that a prefix belongs to
// it, empty where the ASN database says so.
type system struct {
	asn  uint32
	word string
}

// resolveSystems looks up every autonomous system of the set: in the database
// where there is one, since it is newer than any pack.
func resolveSystems(set *rules.Set, database string, tables []asnSource) (*systems, error) {
	s := &systems{}
	asns := slices.Collect(set.ASNs())
	if len(asns) == 0 {
		return s, nil
	}
	if database != "" {
		found, _, err := enrich.ASNPrefixes(database, asns)
		if err != nil {
			return nil, err
		}
		for asn, prefixes := range found {
			for _, p := range prefixes {
				s.add(p, system{asn: asn})
			}
		}
		return s, nil
	}
	for _, t := range tables {
		if err := s.addTable(t, asns); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *systems) addTable(t asnSource, asns []uint32) error {
	word := fmt.Sprintf("the remote's autonomous system is as pack %s gave it on %s", t.pack, t.table.Date)
	for name, prefixes := range t.table.Prefixes {
		n, err := strconv.ParseUint(strings.TrimPrefix(name, "AS"), 10, 32)
		if err != nil || !slices.Contains(asns, uint32(n)) {
			continue // of no indicator in force
		}
		for _, text := range prefixes {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return fmt.Errorf("pack %s: prefix of %s: %w", t.pack, name, err)
			}
			s.add(p, system{uint32(n), word})
		}
	}
	return nil
}

func (s *systems) add(p netip.Prefix, of system) {
	s.byPrefix.Insert(p.Masked(), of)
	s.prefixes = append(s.prefixes, p.Masked())
}

// find gives the system of an address, when an indicator names it.
func (s *systems) find(a netip.Addr) (system, bool) {
	if s == nil || len(s.prefixes) == 0 || !a.IsValid() {
		return system{}, false
	}
	return s.byPrefix.Lookup(a.Unmap())
}

// attribute gives the observation the autonomous system that enrichment could
// not, and says whose word it is.
func (s *systems) attribute(o *rules.Observation) {
	if o.Geo != nil && o.Geo.ASN != 0 {
		return
	}
	addr := o.Remote.Addr
	if o.Hidden != nil && o.Hidden.Addr.IsValid() {
		addr = o.Hidden.Addr
	}
	found, ok := s.find(addr)
	if !ok {
		return
	}
	geo := rules.Geo{}
	if o.Geo != nil {
		geo = *o.Geo
	}
	geo.ASN = found.asn
	o.Geo = &geo
	if found.word != "" {
		o.Notes = append(o.Notes, found.word)
	}
}

// searches adds to ties the prefixes of the systems among them, where packs know
// these: past flows were remembered without a system.
func (s *systems) searches(fresh []rules.Tie) []rules.Tie {
	named := map[string]bool{}
	for _, t := range fresh {
		if t.Type == rules.TypeASN {
			named[t.Value] = true
		}
	}
	if s == nil || len(named) == 0 {
		return fresh
	}
	out := slices.Clone(fresh)
	for _, p := range s.prefixes {
		if of, ok := s.byPrefix.Get(p); ok && of.word != "" && named[fmt.Sprintf("AS%d", of.asn)] {
			out = append(out, rules.Tie{Type: rules.TypeCIDR, Value: p.String()})
		}
	}
	return out
}

// sharedSystems is the systems in force; a swap makes no reader wait.
type sharedSystems struct{ atomic.Pointer[systems] }

// refreshSystems looks the autonomous systems up again, when the database has
// changed.
func (a *Agent) refreshSystems() error {
	a.loading.Lock()
	defer a.loading.Unlock()
	fresh, err := resolveSystems(a.live.Set(), a.cfg.Enrich.GeoIP.ASN, a.standing.Load().tables)
	if err != nil {
		return err
	}
	a.systems.Store(fresh)
	for _, s := range a.sensors {
		a.givePrefixes(s)
	}
	return nil
}

// givePrefixes gives a sensor what is attributed: addresses, prefixes, and those
// of autonomous systems.
func (a *Agent) givePrefixes(s sensor.Sensor) {
	report, err := s.SetPrefixes(append(prefixesOf(a.live.Set()), a.systems.Load().prefixes...))
	switch {
	case err != nil:
		a.log.Warn("attributed prefixes not given to the sensor", "sensor", s.Name(), "error", err)
	case report.Loaded > 0 && report.Loaded < report.Given:
		a.log.Warn("the kernel takes only a part of the attributed prefixes; the rest is matched in user space", "sensor", s.Name(), "given", report.Given, "loaded", report.Loaded)
	}
}
