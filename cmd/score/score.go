package main

import (
	"slices"
	"sort"
)

// counts are a category's, over flows.
type counts struct {
	flows, right, wrong, missed int // true flows; true positives, false positives, false negatives
	captures, seen              map[string]bool
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func (c *counts) precision() float64 { return ratio(c.right, c.right+c.wrong) }
func (c *counts) recall() float64    { return ratio(c.right, c.right+c.missed) }
func (c *counts) f1() float64        { return harmonic(c.precision(), c.recall()) }

func harmonic(p, r float64) float64 {
	if p+r == 0 {
		return 0
	}
	return 2 * p * r / (p + r)
}

// mistake is a flow that a tool got wrong.
type mistake struct {
	flow       flow
	want, have string
}

// score is how a tool did.
type score struct {
	tool       string
	categories map[string]*counts

	negatives, negativesPayload    int // flows labelled none; those with payload
	falseOnNegatives, falseNoData  int // called something; those without payload
	falseLabels                    map[string]int
	ambiguous                      int // not scored
	suspected                      int // right answers that are no more than suspected: they count as the others
	unmatched, unmatchedIdentified int // predictions about flows that no label names
	mistakes                       []mistake
}

// synonyms are labels of tools that cannot tell more.
var synonyms = map[string][]string{
	"ike":   {"ikev1", "ikev2"},
	"ipsec": {"ikev1", "ikev2", "esp", "ah"},
}

// right says whether an answer is right for a flow.
func (l *labelled) right(answer string) bool {
	ok := func(label string) bool { return label == l.label || slices.Contains(l.also, label) }
	return ok(answer) || slices.ContainsFunc(synonyms[answer], ok)
}

// choose takes, of several answers for a flow, one that is right, else the first
// that is not none.
func (l *labelled) choose(answers []string) string {
	if len(answers) == 0 {
		answers = []string{none}
	}
	if i := slices.IndexFunc(answers, l.right); i >= 0 {
		return answers[i]
	}
	if i := slices.IndexFunc(answers, func(a string) bool { return a != none }); i >= 0 {
		return answers[i]
	}
	return none
}

// measure compares predictions with the truth.
func measure(tool string, t *truth, predictions []prediction) *score {
	s := &score{tool: tool, categories: map[string]*counts{}, falseLabels: map[string]int{}}
	answers := map[int][]string{}
	confirmed := map[int]bool{}
	for _, p := range predictions {
		at, ok := t.place[p.flow]
		if !ok {
			s.unmatched++
			if p.label != none {
				s.unmatchedIdentified++
			}
			continue
		}
		answers[at] = append(answers[at], p.label)
		confirmed[at] = confirmed[at] || p.state != "suspected" && t.flows[at].right(p.label)
	}
	for i := range t.flows {
		l := &t.flows[i]
		if l.ambiguous {
			s.ambiguous++
			continue
		}
		answer := l.choose(answers[i])
		s.count(l, answer)
		if l.label != none && l.right(answer) && !confirmed[i] {
			s.suspected++
		}
	}
	return s
}

func (s *score) count(l *labelled, answer string) {
	if l.label == none {
		s.countNegative(l, answer)
		return
	}
	c := s.category(l.label)
	c.flows++
	c.captures[l.flow.capture] = true
	if answer != none && l.right(answer) {
		c.right++
		c.seen[l.flow.capture] = true
		return
	}
	c.missed++
	if answer != none {
		s.category(answer).wrong++
	}
	s.mistakes = append(s.mistakes, mistake{l.flow, l.label, answer})
}

func (s *score) countNegative(l *labelled, answer string) {
	s.negatives++
	if l.payload {
		s.negativesPayload++
	}
	// "also" may allow a name for a flow labelled none, and still it counts here:
	// a negative is a flow that must stay without one.
	if answer == none {
		return
	}
	s.falseOnNegatives++
	s.falseLabels[answer]++
	s.category(answer).wrong++
	if !l.payload {
		s.falseNoData++
	}
	s.mistakes = append(s.mistakes, mistake{l.flow, none, answer})
}

func (s *score) category(name string) *counts {
	c := s.categories[name]
	if c == nil {
		c = &counts{captures: map[string]bool{}, seen: map[string]bool{}}
		s.categories[name] = c
	}
	return c
}

// macro is the mean F1 over the categories that have a true flow, and how many.
func (s *score) macro() (f1 float64, n int) {
	for _, c := range s.categories {
		if c.flows > 0 {
			f1 += c.f1()
			n++
		}
	}
	if n == 0 {
		return 0, 0
	}
	return f1 / float64(n), n
}

// total adds up all categories.
func (s *score) total() (t counts) {
	for _, c := range s.categories {
		t.flows += c.flows
		t.right += c.right
		t.wrong += c.wrong
		t.missed += c.missed
	}
	return t
}

// names are the categories that any of the scores has.
func names(scores []*score) []string {
	set := map[string]bool{}
	for _, s := range scores {
		for name := range s.categories {
			set[name] = true
		}
	}
	list := make([]string, 0, len(set))
	for name := range set {
		list = append(list, name)
	}
	sort.Strings(list)
	return list
}
