package pack

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"sallyport/rules"
)

// Contents is what a pack is built from.
type Contents struct {
	Name       string
	Version    uint64
	Created    time.Time
	Expires    time.Time
	RollbackOf uint64
	Shrinks    bool // agents shall take it though it holds much less than the one before
	Note       string
	Entities   []rules.Entity
	Detections map[string][]byte // file name, such as "attributed_rdp.yml", to the rule
	Allow      []byte            // an allow-list file; nil: none
	Approved   []byte            // an approved-tools file; nil: none
	ASN        *ASNTable         // nil: none
	Own        []netip.Prefix    // the operator's own prefixes: an indicator in them is refused
}

// ASNTable holds the prefixes of autonomous systems, as they were on a day:
// numbers and prefixes are issued again, so a table without its date is worth
// nothing.
type ASNTable struct {
	Date     rules.Date          `json:"date"`
	Source   string              `json:"source"`
	Prefixes map[string][]string `json:"prefixes"` // "AS64496" to prefixes
	// LeftOut are prefixes that were refused, each with the reason.
	LeftOut []string `json:"left_out,omitempty"`
}

// Signer signs packs: a key, and the chain of statements that lets it.
type Signer struct {
	Key   ed25519.PrivateKey
	Chain []Signed
}

// Build makes a pack and writes it. Without a signer it is unsigned, and Sign
// completes it where the key is.
func Build(w io.Writer, c Contents, s *Signer) error {
	p, err := assemble(&c)
	if err != nil {
		return fmt.Errorf("build pack %s: %w", c.Name, err)
	}
	if s == nil {
		return p.write(w, &signature{})
	}
	return Sign(w, p, *s)
}

// Sign writes the pack with a signature. What the pack says of itself does not
// change, so its digest stays.
func Sign(w io.Writer, p *Pack, s Signer) error {
	if len(s.Key) != ed25519.PrivateKeySize || len(s.Chain) == 0 {
		return errors.New("sign pack: a key and the statements that let it sign are needed")
	}
	var last Statement
	if err := strictJSON(s.Chain[len(s.Chain)-1].Statement, &last); err != nil {
		return fmt.Errorf("sign pack: read statement: %w", err)
	}
	if public, ok := s.Key.Public().(ed25519.PublicKey); !ok || !public.Equal(ed25519.PublicKey(last.Key)) {
		return errors.New("sign pack: the last statement is about another key")
	}
	if err := last.covers(&p.Manifest); err != nil {
		return fmt.Errorf("sign pack: %w", err)
	}
	sig := ed25519.Sign(s.Key, append([]byte(manifestContext), p.manifest...))
	return p.write(w, &signature{Chain: s.Chain, Sig: sig})
}

func assemble(c *Contents) (*Pack, error) {
	p := &Pack{files: map[string][]byte{}}
	ids := map[string]bool{}
	for i := range c.Entities {
		e := &c.Entities[i]
		if ids[e.ID] {
			return nil, fmt.Errorf("the entity id %q is used twice", e.ID)
		}
		ids[e.ID] = true
		if err := p.addEntity(e, c.Own); err != nil {
			return nil, err
		}
	}
	for name, data := range c.Detections {
		p.files["detections/"+name] = data
	}
	for name, data := range map[string][]byte{allowName: c.Allow, approvedName: c.Approved} {
		if len(data) > 0 {
			p.files[name] = data
		}
	}
	if _, _, err := p.Policies(); err != nil {
		return nil, err
	}
	if c.ASN != nil {
		raw, err := json.Marshal(c.ASN.checked(c.Own))
		if err != nil {
			return nil, fmt.Errorf("encode prefixes: %w", err)
		}
		p.files["asn.json"] = raw
	}
	if _, err := p.Detections(nil); err != nil {
		return nil, err
	}
	return p, p.seal(c)
}

// seal writes the manifest over the files.
func (p *Pack) seal(c *Contents) error {
	p.Manifest = Manifest{
		Format: Format, Name: c.Name, Version: c.Version, Created: c.Created.UTC().Truncate(time.Second),
		Expires: c.Expires.UTC().Truncate(time.Second), RollbackOf: c.RollbackOf, Shrinks: c.Shrinks, Note: c.Note, Files: []File{},
	}
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		sum := sha256.Sum256(p.files[name])
		p.Manifest.Files = append(p.Manifest.Files, File{name, int64(len(p.files[name])), hex.EncodeToString(sum[:])})
	}
	if err := p.Manifest.validate(); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(&p.Manifest, "", " ")
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	sum := sha256.Sum256(raw)
	p.manifest, p.Digest = raw, hex.EncodeToString(sum[:])
	return nil
}

// plainIndicators is how many indicators an entity file holds as YAML. A longer
// list stands in a file of its own, one "type value number" a line, where the
// number is that of the indicator in the entity file that shares all else with
// it: YAML of a million rows would take minutes to read.
const plainIndicators = 1000

func (p *Pack) addEntity(e *rules.Entity, own []netip.Prefix) error {
	if err := e.Validate(); err != nil {
		return err
	}
	for i := range e.Indicators {
		if err := notOwn(&e.Indicators[i], own); err != nil {
			return fmt.Errorf("entity %s: %w", e.ID, err)
		}
	}
	head := *e
	if len(e.Indicators) > plainIndicators {
		var lines []byte
		head.Indicators, lines = shared(e.Indicators)
		if len(lines) > 0 {
			p.files["indicators/"+e.ID+".txt"] = lines
		}
	}
	data, err := yaml.Marshal(&head)
	if err != nil {
		return fmt.Errorf("encode entity %s: %w", e.ID, err)
	}
	// Reading it back here keeps a pack that nobody can read from being signed.
	if _, err := rules.ParseEntities(e.ID+".yaml", data); err != nil {
		return fmt.Errorf("encode entity %s: %w", e.ID, err)
	}
	p.files["entities/"+e.ID+".yaml"] = data
	return nil
}

// shared keeps the first indicator of each provenance, and writes the others as
// lines that refer to it.
func shared(list []rules.Indicator) ([]rules.Indicator, []byte) {
	var head []rules.Indicator
	var lines bytes.Buffer
	number := map[string]int{}
	last := -1 // of head, that the indicator before this one belongs to
	for i := range list {
		in := &list[i]
		if last >= 0 && alike(&head[last], in) {
			fmt.Fprintf(&lines, "%s %s %d\n", in.Type, in.Value, last)
			continue
		}
		holder := ""
		if in.Holder != nil {
			holder = fmt.Sprintf("%q %v", in.Holder.Name, in.Holder.Listed)
		}
		flat := in.Provenance
		flat.Holder = nil
		key := fmt.Sprintf("%s %#v", holder, flat)
		n, ok := number[key]
		if !ok {
			number[key], last = len(head), len(head)
			head = append(head, *in)
			continue
		}
		last = n
		fmt.Fprintf(&lines, "%s %s %d\n", in.Type, in.Value, n)
	}
	return head, lines.Bytes()
}

// alike is the quick test for rows of one list, which share their sources.
func alike(a, b *rules.Indicator) bool {
	return len(a.Sources) > 0 && len(b.Sources) == len(a.Sources) && &a.Sources[0] == &b.Sources[0] &&
		reflect.DeepEqual(a.Provenance, b.Provenance)
}

// notOwn refuses an indicator that touches the operator's own prefixes.
func notOwn(in *rules.Indicator, own []netip.Prefix) error {
	if len(own) == 0 || in.Type != rules.TypeIP && in.Type != rules.TypeCIDR {
		return nil
	}
	prefix, err := asPrefix(in.Value)
	if err != nil {
		return err
	}
	for _, o := range own {
		if o.Overlaps(prefix) {
			return fmt.Errorf("indicator %s overlaps your own prefix %s", in.Value, o)
		}
	}
	return nil
}

func asPrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}

// checked leaves out what can be nobody's: special-use, over-broad and own
// prefixes, each with the reason.
func (t *ASNTable) checked(own []netip.Prefix) *ASNTable {
	out := &ASNTable{Date: t.Date, Source: t.Source, Prefixes: map[string][]string{}}
	for _, asn := range slices.Sorted(maps.Keys(t.Prefixes)) {
		for _, s := range t.Prefixes[asn] {
			in := rules.Indicator{Type: rules.TypeCIDR, Value: s}
			err := rules.CheckValue(in.Type, s, false)
			if err == nil {
				err = notOwn(&in, own)
			}
			if err != nil {
				out.LeftOut = append(out.LeftOut, asn+" "+s+": "+strings.SplitN(err.Error(), ";", 2)[0])
				continue
			}
			out.Prefixes[asn] = append(out.Prefixes[asn], s)
		}
	}
	return out
}
