package deliver

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// bound gives up the oldest segments while the spool would be larger than
// allowed with n bytes more, or they are too old. The segment being written to
// stays. Callers hold mu.
func (s *Spool) bound(n int64, now time.Time) {
	total := n
	for _, seg := range s.segments {
		total += seg.size
	}
	for len(s.segments) > 1 {
		seg := s.segments[0]
		switch {
		case total > s.cfg.MaxBytes:
			s.giveUp(seg, "spool_full", fmt.Sprintf("the spool holds more than %d bytes", s.cfg.MaxBytes))
		case s.tooOld(seg, now):
			s.giveUp(seg, "spool_age", fmt.Sprintf("findings waited longer than %s", s.cfg.MaxAge))
		default:
			return
		}
		total -= seg.size
	}
}

// ageGrace is how long a segment must stay too old before it goes: a clock that
// jumps ahead and back must not cost the spool.
const ageGrace = 10 * time.Minute

// plausible is the earliest time a finding can have been appended. A host without
// a clock of its own starts in 1970.
var plausible = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// tooOld says whether the oldest segment must go because of its age.
func (s *Spool) tooOld(seg *segment, now time.Time) bool {
	if seg.frames == 0 || seg.newest.Before(plausible) || now.Sub(seg.newest) <= s.cfg.MaxAge {
		s.oldSince = time.Time{}
		return false
	}
	if s.oldSince.IsZero() {
		s.oldSince = now
	}
	return now.Sub(s.oldSince) >= ageGrace
}

// giveUp removes the oldest segment, and counts and reports what some
// destination had not had of it.
func (s *Spool) giveUp(seg *segment, reason, detail string) {
	lost := seg.frames
	if low := s.lowest(); low.Segment == seg.number {
		lost -= min(low.Frames, lost)
	} else if low.Segment > seg.number {
		lost = 0
	}
	s.removeOldest()
	if lost > 0 {
		s.count(reason, lost)
		s.report(Event{Kind: EventGivenUp, Findings: lost, Bytes: seg.size, Detail: detail})
	}
}

// removeOldest takes the first segment off the disk.
func (s *Spool) removeOldest() {
	seg := s.segments[0]
	if err := os.Remove(seg.path); err != nil && !os.IsNotExist(err) {
		s.log.Warn("cannot remove segment", "segment", filepath.Base(seg.path), "error", err)
	}
	s.segments = s.segments[1:]
}

// Tidy applies the bound of age while nothing is appended.
func (s *Spool) Tidy(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.writing {
		return
	}
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		if last.size > 0 && now.Sub(last.newest) > s.cfg.MaxAge {
			if s.file != nil {
				s.file.Close()
				s.file = nil
			}
			if err := s.rotate(); err != nil {
				return // the next append says so
			}
		}
	}
	s.bound(0, now)
}
