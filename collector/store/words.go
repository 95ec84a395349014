package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport/rules"
)

// Bounds of what a finding is found by.
const (
	maxWords = 16 << 10 // of one finding, in bytes
	maxWord  = 120      // of one word, in bytes
	maxParts = 8        // of one word
)

// parts cuts text the same way for both databases, whose own tokenizers disagree
// on addresses, paths and host names.
func parts(text string) []string {
	return strings.FieldsFunc(strings.ToLower(strings.ToValidUTF8(text, " ")), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// join makes the word that is searched for, or kept, out of parts: letters,
// digits and dots.
func join(parts []string) string {
	word := strings.Join(parts[:min(len(parts), maxParts)], ".")
	if len(word) <= maxWord {
		return word
	}
	word = word[:maxWord]
	for !utf8.ValidString(word) {
		word = word[:len(word)-1]
	}
	return word
}

// wordList collects words without repeats, up to maxWords.
type wordList struct {
	seen map[string]bool
	text strings.Builder
}

func (w *wordList) word(word string) {
	if w.seen[word] || w.text.Len()+len(word) >= maxWords {
		return
	}
	w.seen[word] = true
	if w.text.Len() > 0 {
		w.text.WriteByte(' ')
	}
	w.text.WriteString(word)
}

// add takes a text. Of "gw.example.com" it keeps gw.example.com, example.com and
// com: what is searched for is then one word or the beginning of one, and no
// index has to join the lists of words as common as com.
func (w *wordList) add(texts ...string) {
	for _, text := range texts {
		for _, field := range strings.Fields(text) {
			for p := parts(field); len(p) > 0; p = p[1:] {
				w.word(join(p))
			}
		}
	}
}

// words are what a finding is found by, with spaces between: first the facets,
// then the words of its text.
func words(f *rules.Finding, row *row) string {
	w := wordList{seen: map[string]bool{}}
	for _, facet := range row.facets(f) {
		w.word(facet)
	}
	o := &f.Observation
	w.add(f.Agent.Name, o.Host, f.Title, f.Rule.ID, f.Rule.Title,
		o.Identification.Protocol, o.Identification.Product, o.Query,
		address(o.Remote), address(o.Local))
	for _, m := range f.Matches {
		w.add(m.Entity.ID, m.Entity.Name, m.Value, m.Indicator.Value, m.Indicator.Actor)
		for _, d := range m.Designations {
			w.add(d.Authority, d.List, d.Programme, d.ListID)
		}
	}
	for _, n := range o.Names {
		w.add(n.Name)
	}
	if o.RemoteAsked != nil {
		w.add(address(*o.RemoteAsked))
	}
	if o.Hidden != nil {
		w.add(o.Hidden.Host)
		if o.Hidden.Addr.IsValid() {
			w.add(o.Hidden.Addr.String())
		}
	}
	w.handshakes(o)
	if g := o.Geo; g != nil {
		w.add(g.Country, g.City, g.Organisation)
	}
	w.owner(&o.Owner)
	return w.text.String()
}

func (w *wordList) handshakes(o *rules.Observation) {
	if o.TLS != nil {
		w.add(o.TLS.SNI, o.TLS.JA3, o.TLS.JA4)
		for _, c := range o.TLS.Certificates {
			w.add(c.SHA1, c.SHA256, c.Subject)
		}
	}
	if o.SSH != nil {
		w.add(o.SSH.ClientVersion, o.SSH.ServerVersion, o.SSH.HASSH)
	}
}

func (w *wordList) owner(o *rules.Owner) {
	if p := o.Process; p != nil {
		w.add(p.Executable, p.Name, p.User)
		w.add(p.Args...)
	}
	if c := o.Container; c != nil {
		w.add(c.ID, c.Namespace, c.Pod, c.Workload, c.Image)
	}
}

func address(e rules.Endpoint) string {
	if !e.Addr.IsValid() {
		return ""
	}
	return e.Addr.String()
}

// facet is the word for one value of a field. A colon is in no word of a text.
func facet(field, value string) string {
	sum := sha256.Sum256([]byte(value))
	return ":" + field + hex.EncodeToString(sum[:10])
}

// Facets of fields that are not texts.
const (
	facetTest       = ":test"
	facetSuppressed = ":suppressed"
)

// facetSeverity is of every finding that is at least so severe.
func facetSeverity(rank int64) string { return ":severity" + string(rune('0'+rank)) }
