package store

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"sallyport/rules"
)

// maxWords bounds the searchable text of a finding, in bytes.
const maxWords = 8 << 10

// split cuts text into words the same way for both databases, whose own
// tokenizers disagree on addresses, paths and host names.
func split(text string) []string {
	return strings.FieldsFunc(strings.ToLower(strings.ToValidUTF8(text, " ")), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// words is the text a finding is found by.
func words(f *rules.Finding) string {
	o := &f.Observation
	parts := []string{
		f.Agent.Name, o.Host, f.Title, f.Rule.ID, f.Rule.Title,
		o.Identification.Protocol, o.Identification.Product, o.Query,
		address(o.Remote), address(o.Local),
	}
	for _, m := range f.Matches {
		parts = append(parts, m.Entity.ID, m.Entity.Name, m.Value, m.Indicator.Value, m.Indicator.Actor)
		for _, d := range m.Designations {
			parts = append(parts, d.Authority, d.List, d.Programme, d.ListID)
		}
	}
	for _, n := range o.Names {
		parts = append(parts, n.Name)
	}
	if o.RemoteAsked != nil {
		parts = append(parts, address(*o.RemoteAsked))
	}
	if o.Hidden != nil {
		parts = append(parts, o.Hidden.Host)
		if o.Hidden.Addr.IsValid() {
			parts = append(parts, o.Hidden.Addr.String())
		}
	}
	if o.TLS != nil {
		parts = append(parts, o.TLS.SNI, o.TLS.JA3, o.TLS.JA4)
		for _, c := range o.TLS.Certificates {
			parts = append(parts, c.SHA1, c.SHA256, c.Subject)
		}
	}
	if o.SSH != nil {
		parts = append(parts, o.SSH.ClientVersion, o.SSH.ServerVersion, o.SSH.HASSH)
	}
	if g := o.Geo; g != nil {
		parts = append(parts, g.Country, g.City, g.Organisation)
	}
	if p := o.Owner.Process; p != nil {
		parts = append(parts, p.Executable, p.Name, p.User)
		parts = append(parts, p.Args...)
	}
	if c := o.Owner.Container; c != nil {
		parts = append(parts, c.ID, c.Namespace, c.Pod, c.Workload, c.Image)
	}
	text := strings.Join(split(strings.Join(parts, " ")), " ")
	if len(text) <= maxWords {
		return text
	}
	text = text[:maxWords]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text
}

func address(e rules.Endpoint) string {
	if !e.Addr.IsValid() {
		return ""
	}
	return e.Addr.String()
}

// search turns what a person typed into the database's full-text condition: all
// terms must be found, each as a phrase whose last word may go on.
func (d dialect) search(text string) string {
	var phrases []string
	for _, term := range strings.Fields(text) {
		if w := split(term); len(w) > 0 {
			phrases = append(phrases, d.phrase(w))
		}
	}
	return d.and(phrases)
}
