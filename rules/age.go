package rules

import "time"

// Age says how an indicator's dates stand to the time of a flow.
type Age string

// Ages.
const (
	AgeCurrent Age = "current" // used or checked not long before the flow
	AgeStale   Age = "stale"   // last used or checked longer ago than such a value is good for
	AgeExpired Age = "expired" // its validity had ended
	AgeEarly   Age = "early"   // its validity had not begun, or it was first seen long after
	AgeUndated Age = "undated" // no source dates its use: it ages from its newest source's date
	AgeOld     Age = "old"     // undated, and its newest source is stale
)

const day = 24 * time.Hour

// goodFor is how long after its last date a value is taken as current. An
// address is let again within months; a certificate or fingerprint is nobody
// else's, but its operator changes it.
func goodFor(kind IndicatorType) time.Duration {
	switch kind {
	case TypeIP, TypeCIDR, TypeASN:
		return 180 * day
	case TypeDomain, TypeURLHost:
		return 365 * day
	}
	return 2 * 365 * day
}

// ageAt computes the age of an indicator when a flow happened.
func (s *shared) ageAt(flow time.Time, sources map[string]Source) Age {
	if s.ValidFrom.Known() && flow.Before(s.ValidFrom.Start()) {
		return AgeEarly
	}
	if s.ValidTo.Known() && !flow.Before(s.ValidTo.End()) {
		return AgeExpired
	}
	first, last := s.seen()
	if first.Known() && first.Start().Sub(flow) > goodFor(s.kind) {
		return AgeEarly
	}
	if used := later(last, s.LastChecked); used.Known() {
		if flow.Sub(used.End()) > goodFor(s.kind) {
			return AgeStale
		}
		return AgeCurrent
	}
	var newest Date
	for _, c := range s.Sources {
		newest = later(newest, sources[c.Source].Date)
	}
	if !newest.Known() || flow.Sub(newest.End()) > goodFor(s.kind) {
		return AgeOld
	}
	return AgeUndated
}

// seen is the earliest first and the latest last date of the sources.
func (s *shared) seen() (first, last Date) {
	for _, c := range s.Sources {
		first = earlier(first, c.FirstSeen)
		last = later(last, c.LastSeen)
	}
	return first, last
}
