package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/rules"
)

// rotateAge bounds how long a segment is written to, so that age can be bounded
// by whole segments.
const rotateAge = time.Hour

// group is the appends that share one write and one fsync.
type group struct {
	items []frame
	done  chan struct{}
	err   error
}

// Append returns when the finding is on disk: written and fsynced, together with
// whatever others appended meanwhile. A cancelled ctx leaves it open whether the
// finding was kept; appending it again is harmless, since its message id is the
// same.
func (s *Spool) Append(ctx context.Context, f rules.Finding) error {
	raw, err := s.encode(f)
	if err != nil {
		return fmt.Errorf("encode finding: %w", err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if s.batch == nil {
		s.batch = &group{done: make(chan struct{})}
	}
	g := s.batch
	g.items = append(g.items, frame{id: f.MessageID(), finding: raw})
	if !s.writing {
		s.writing = true
		go s.lead()
	}
	s.mu.Unlock()
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// encode gives the finding's JSON; one that is too large goes without its
// evidence and says so, since a finding cut short beats none.
func (s *Spool) encode(f rules.Finding) ([]byte, error) {
	if len(f.MessageID()) > maxMessageID {
		return nil, fmt.Errorf("message id is longer than %d bytes", maxMessageID)
	}
	raw, err := json.Marshal(f)
	if err != nil || len(raw) <= s.cfg.MaxFinding {
		return raw, err
	}
	f.Evidence = nil
	f.Why = append(f.Why[:len(f.Why):len(f.Why)], fmt.Sprintf("evidence left out: the finding took %d bytes of %d", len(raw), s.cfg.MaxFinding))
	raw, err = json.Marshal(f)
	if err == nil && len(raw) > s.cfg.MaxFinding {
		return nil, fmt.Errorf("%d bytes without evidence, more than %d", len(raw), s.cfg.MaxFinding)
	}
	s.count("evidence_too_large", 1)
	return raw, err
}

// lead writes groups until none waits.
func (s *Spool) lead() {
	for {
		s.mu.Lock()
		g := s.batch
		s.batch = nil
		if g == nil {
			s.writing = false
			s.idle.Broadcast()
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		g.err = s.write(g)
		close(g.done)
	}
}

// write makes a group durable: one write, one fsync. Numbers are given here, so
// that what fails leaves no gap.
func (s *Spool) write(g *group) error {
	s.mu.Lock()
	now := time.Now()
	s.scratch = s.scratch[:0]
	for i := range g.items {
		g.items[i].seq, g.items[i].time = s.nextSeq+uint64(i), now
		s.scratch = appendFrame(s.scratch, g.items[i])
	}
	if err := s.prepare(int64(len(s.scratch)), now); err != nil {
		defer s.mu.Unlock()
		return s.failed(err, len(g.items))
	}
	file, seg := s.file, s.segments[len(s.segments)-1]
	s.mu.Unlock()

	_, err := file.Write(s.scratch)
	if err == nil {
		err = file.Sync()
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.undo(seg, err)
		return s.failed(err, len(g.items))
	}
	if seg.frames == 0 {
		seg.oldest = now
	}
	seg.newest = now
	seg.size += int64(len(s.scratch))
	seg.frames += uint64(len(g.items))
	s.nextSeq += uint64(len(g.items))
	if cap(s.scratch) > 1<<20 { // one huge group must not be held for ever
		s.scratch = nil
	}
	s.recovered()
	close(s.wake)
	s.wake = make(chan struct{})
	return nil
}

// prepare makes room for n bytes and sees that a segment is open.
func (s *Spool) prepare(n int64, now time.Time) error {
	if s.file != nil {
		seg := s.segments[len(s.segments)-1]
		if seg.size > 0 && (seg.size+n > s.cfg.SegmentBytes || now.Sub(seg.oldest) > rotateAge) {
			s.file.Close()
			s.file = nil
		}
	}
	if s.file == nil {
		if err := s.rotate(); err != nil {
			return err
		}
	}
	s.bound(n, now)
	return nil
}

// rotate starts a new segment, or goes on with the last one if nothing was
// written to it. Callers hold mu.
func (s *Spool) rotate() error {
	number := uint64(1)
	if n := len(s.segments); n > 0 {
		last := s.segments[n-1]
		if last.size == 0 && last.epoch == s.epoch && last.first == s.nextSeq {
			f, err := os.OpenFile(last.path, os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o600)
			s.file = f
			return err
		}
		number = last.number + 1
	}
	path := filepath.Join(s.cfg.Dir, segmentName(number, s.epoch, s.nextSeq))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(s.cfg.Dir); err != nil {
		f.Close()
		os.Remove(path)
		return err
	}
	s.file = f
	s.segments = append(s.segments, &segment{number: number, epoch: s.epoch, first: s.nextSeq, path: path})
	return nil
}

// undo takes back a write that failed. Where even that fails, the segment may
// hold frames that nobody was promised; numbering starts anew elsewhere, so that
// no number means two things.
func (s *Spool) undo(seg *segment, cause error) {
	terr := s.file.Truncate(seg.size)
	if terr == nil && diskFull(cause) {
		return
	}
	s.file.Close()
	s.file = nil
	if terr != nil {
		s.epoch, s.nextSeq = randomEpoch(), 1
	}
}

func diskFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// failed names the error and reports a full disk once.
func (s *Spool) failed(err error, n int) error {
	if !diskFull(err) {
		return fmt.Errorf("write spool: %w", err)
	}
	s.refused += uint64(n)
	if !s.full {
		s.full = true
		s.report(Event{Kind: EventDiskFull, Detail: "no space for findings in " + s.cfg.Dir + "; they wait in memory until there is"})
	}
	return ErrFull
}

// recovered reports the end of a full disk.
func (s *Spool) recovered() {
	if !s.full {
		return
	}
	s.report(Event{Kind: EventDiskWrites, Findings: s.refused, Detail: "findings can be written again; so many writes were refused meanwhile"})
	s.full, s.refused = false, 0
}
