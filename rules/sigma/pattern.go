package sigma

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// elemKind is what one element of a pattern stands for.
type elemKind uint8

const (
	elemRune elemKind = iota
	elemOne           // "?"
	elemMany          // "*"
)

type elem struct {
	kind elemKind
	r    rune
}

// pattern is a Sigma string with its wildcards.
type pattern struct {
	elems []elem
	cased bool
}

// parsePattern reads wildcards and escapes. A backslash escapes "*", "?" and
// itself; before anything else it is a plain backslash (Sigma rules
// specification, "Escape Character").
func parsePattern(s string) []elem {
	out := make([]elem, 0, len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '*':
			out = append(out, elem{kind: elemMany})
		case r == '?':
			out = append(out, elem{kind: elemOne})
		case r == '\\' && i+1 < len(s) && strings.IndexByte(`*?\`, s[i+1]) >= 0:
			out = append(out, elem{r: rune(s[i+1])})
			n = 2
		default:
			out = append(out, elem{r: r})
		}
		i += n
	}
	return out
}

// compile folds the case unless cased, and joins neighbouring "*".
func compilePattern(elems []elem, cased bool) pattern {
	out := make([]elem, 0, len(elems))
	for _, e := range elems {
		if e.kind == elemMany && len(out) > 0 && out[len(out)-1].kind == elemMany {
			continue
		}
		if e.kind == elemRune && !cased {
			e.r = fold(e.r)
		}
		out = append(out, e)
	}
	return pattern{elems: out, cased: cased}
}

// plain returns the text of a pattern without wildcards.
func plain(elems []elem) (string, bool) {
	var b strings.Builder
	for _, e := range elems {
		if e.kind != elemRune {
			return "", false
		}
		b.WriteRune(e.r)
	}
	return b.String(), true
}

// match reports whether the whole of s fits. On a mismatch it goes back to the
// last "*" only, which is enough for this language and never exponential.
func (p *pattern) match(s string) bool {
	pi, si := 0, 0
	star, resume := -1, 0
	for si < len(s) {
		r, n := p.next(s, si)
		switch {
		case pi < len(p.elems) && p.elems[pi].kind == elemMany:
			star, resume = pi, si
			pi++
		case pi < len(p.elems) && (p.elems[pi].kind == elemOne || p.elems[pi].r == r):
			pi++
			si += n
		case star >= 0:
			_, n = p.next(s, resume)
			resume += n
			pi, si = star+1, resume
		default:
			return false
		}
		if star >= 0 && pi == star+1 && pi == len(p.elems) {
			return true // nothing follows the last "*"
		}
	}
	for pi < len(p.elems) && p.elems[pi].kind == elemMany {
		pi++
	}
	return pi == len(p.elems)
}

func (p *pattern) next(s string, i int) (rune, int) {
	if c := s[i]; c < utf8.RuneSelf {
		if !p.cased && 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return rune(c), 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	if !p.cased {
		r = fold(r)
	}
	return r, n
}

// fold maps the runes that differ in case only to one of them.
func fold(r rune) rune {
	least := r
	if r >= utf8.RuneSelf {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
	}
	if 'A' <= least && least <= 'Z' {
		return least + 'a' - 'A'
	}
	return least
}
