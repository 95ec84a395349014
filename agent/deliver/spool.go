package deliver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"sallyport/rules"
)

// Errors of the spool.
var (
	// ErrFull is returned by Append while the disk takes no more. The caller keeps
	// the finding and tries again; the spool recovers by itself.
	ErrFull = errors.New("spool: disk full")
	// ErrClosed is returned by Append after Close.
	ErrClosed = errors.New("spool: closed")
	// ErrInUse is returned by Open when another process has the spool open.
	ErrInUse = errors.New("spool: in use by another process")
)

// Spool keeps findings on disk until every destination has them.
type Spool struct {
	cfg    Config
	log    hclog.Logger
	lock   *os.File
	events chan Event

	countMu sync.Mutex
	dropped map[string]uint64

	mu       sync.Mutex
	segments []*segment // oldest first; the last one is written to
	file     *os.File   // of the last segment; nil when it must be rotated first
	epoch    string
	nextSeq  uint64
	cursors  map[string]*cursor
	wake     chan struct{} // closed and replaced when there is something new to read
	settled  chan struct{} // closed and replaced when something was acknowledged
	closed   bool
	full     bool
	oldSince time.Time // since when the oldest segment is too old
	refused  uint64    // appends refused while full
	batch    *group    // appends that wait for the next write
	writing  bool      // a leader is at work; it alone touches file, epoch and nextSeq
	idle     *sync.Cond
	scratch  []byte // of the leader
}

// Open takes the folder, repairs what a crash left, and reports what is damaged
// through Events. It reads the whole spool once.
func Open(cfg Config, log hclog.Logger) (*Spool, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := &Spool{
		cfg: cfg, log: log.Named("spool"), lock: lock,
		events:  make(chan Event, maxEvents),
		dropped: map[string]uint64{},
		cursors: map[string]*cursor{},
		wake:    make(chan struct{}),
		settled: make(chan struct{}),
		nextSeq: 1,
	}
	s.idle = sync.NewCond(&s.mu)
	if err := s.recover(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("open spool: %w", err)
	}
	return s, nil
}

// lockDir holds the folder for this process; the lock goes with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, err
	}
	return f, nil
}

// recover reads every segment and decides where numbering goes on: after the
// last sound frame, unless the end is damaged. Then some number may have been
// used that cannot be read, and numbering starts anew under a new epoch.
func (s *Spool) recover() error {
	segs, err := listSegments(s.cfg.Dir)
	if err != nil {
		return err
	}
	s.segments = segs
	s.loadCursors()
	newEpoch := len(segs) == 0
	for i, seg := range segs {
		r, err := seg.load()
		if err != nil {
			// One unreadable file must not keep the agent from starting.
			s.report(Event{Kind: EventCorrupt, Detail: fmt.Sprintf("cannot read %s: %v", seg.path, err)})
			r.tailDamaged = true
		}
		last := i == len(segs)-1
		lost := r.missing
		if !last && segs[i+1].epoch == seg.epoch && segs[i+1].first > r.next {
			lost += segs[i+1].first - r.next
		}
		// Damage before every cursor costs nothing: it has been delivered.
		if r.damagedBytes > 0 && !s.delivered(seg, r.end) {
			seg.damaged = true
			s.count("spool_corrupt", max(lost, 1))
			s.report(Event{Kind: EventCorrupt, Findings: lost, Bytes: r.damagedBytes,
				Detail: fmt.Sprintf("damaged bytes in %s; the findings around them are kept", filepath.Base(seg.path))})
		}
		if !last {
			continue
		}
		s.epoch, s.nextSeq = seg.epoch, max(r.next, s.ackedSeq(seg.epoch)+1)
		newEpoch = r.tailDamaged
		if r.torn {
			if err := os.Truncate(seg.path, seg.size); err != nil {
				newEpoch = true
			}
		}
	}
	if newEpoch {
		s.epoch, s.nextSeq = randomEpoch(), 1
	}
	s.clampCursors()
	return nil
}

func randomEpoch() string {
	var b [8]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// State says how much waits for the slowest destination.
func (s *Spool) State() rules.SpoolState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := rules.SpoolState{NextSeq: s.nextSeq}
	low := s.lowest()
	for _, seg := range s.segments {
		switch {
		case seg.number < low.Segment || seg.size == 0:
			continue
		case seg.number == low.Segment:
			st.Findings += seg.frames - min(low.Frames, seg.frames)
			st.Bytes += uint64(seg.size - min(low.Offset, seg.size))
			if low.Offset < seg.size {
				st.Oldest = s.timeAt(seg, low.Offset)
			}
		default:
			st.Findings += seg.frames
			st.Bytes += uint64(seg.size)
			if st.Oldest.IsZero() {
				st.Oldest = seg.oldest
			}
		}
	}
	return st
}

// Drained waits until every destination has everything, or ctx ends.
func (s *Spool) Drained(ctx context.Context) error {
	for {
		s.mu.Lock()
		settled := s.settled
		s.mu.Unlock()
		if s.State().Findings == 0 {
			return nil
		}
		select {
		case <-settled:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// timeAt reads when the frame at offset was appended; where it cannot be read
// the segment's oldest time stands in.
func (s *Spool) timeAt(seg *segment, offset int64) time.Time {
	f, err := os.Open(seg.path)
	if err != nil {
		return seg.oldest
	}
	defer f.Close()
	var b [headerSize]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return seg.oldest
	}
	h, err := decodeHeader(b[:])
	if err != nil {
		return seg.oldest
	}
	return h.time
}

// Close ends the spool. What was appended is durable already.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.wake)
	s.wake = make(chan struct{})
	for s.writing {
		s.idle.Wait()
	}
	defer s.mu.Unlock()
	var err error
	if s.file != nil {
		err = s.file.Close()
		s.file = nil
	}
	if cerr := s.lock.Close(); err == nil {
		err = cerr
	}
	return err
}
