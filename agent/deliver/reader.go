package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sallyport/rules"
)

// cursorFile holds how far each destination has acknowledged. Losing it costs
// repeats, never findings.
const cursorFile = "acknowledged.json"

// trimAbove is the size from which a segment that is delivered whole is replaced
// by an empty one at once, in bytes.
const trimAbove = 256 << 10

// cursor is a place in the spool.
type cursor struct {
	Segment uint64 `json:"segment"`
	Offset  int64  `json:"offset"`
	Frames  uint64 `json:"frames"` // passed within the segment
	Epoch   string `json:"epoch"`
	Seq     uint64 `json:"seq"` // last one acknowledged in Epoch
}

// batch is what one request carries: frames of one segment, so of one epoch.
type batch struct {
	envelopes []rules.Envelope // without Agent
	end       cursor
}

// reader reads for one destination.
type reader struct {
	spool *Spool
	name  string

	segment uint64 // of data
	offset  int64  // of data in the segment
	data    []byte
}

// loadCursors reads the cursor file; each destination has a cursor from then on.
func (s *Spool) loadCursors() {
	saved := map[string]cursor{}
	if raw, err := os.ReadFile(filepath.Join(s.cfg.Dir, cursorFile)); err == nil {
		if err := json.Unmarshal(raw, &saved); err != nil {
			s.log.Warn("acknowledgements cannot be read; findings are sent again", "error", err)
			saved = nil
		}
	}
	for _, name := range s.cfg.Destinations {
		c := saved[name]
		s.cursors[name] = &c
	}
}

// clampCursors moves cursors that point outside what is there.
func (s *Spool) clampCursors() {
	for _, c := range s.cursors {
		i := s.indexOf(c.Segment)
		if i < 0 {
			if len(s.segments) == 0 || c.Segment < s.segments[0].number || c.Segment > s.segments[len(s.segments)-1].number {
				*c = cursor{Epoch: c.Epoch, Seq: c.Seq}
			}
			continue
		}
		if c.Offset < 0 || c.Offset > s.segments[i].size {
			c.Offset, c.Frames = s.segments[i].size, s.segments[i].frames
		}
	}
}

func (s *Spool) indexOf(number uint64) int {
	for i, seg := range s.segments {
		if seg.number == number {
			return i
		}
	}
	return -1
}

// lowest is the cursor of the slowest destination. Callers hold mu.
func (s *Spool) lowest() cursor {
	var low *cursor
	for _, c := range s.cursors {
		if low == nil || c.Segment < low.Segment || c.Segment == low.Segment && c.Offset < low.Offset {
			low = c
		}
	}
	if low == nil {
		return cursor{}
	}
	return *low
}

// ackedSeq is the highest sequence number known to be acknowledged in an epoch.
func (s *Spool) ackedSeq(epoch string) uint64 {
	var high uint64
	for _, c := range s.cursors {
		if c.Epoch == epoch {
			high = max(high, c.Seq)
		}
	}
	return high
}

// delivered says whether every destination is past offset of the segment.
func (s *Spool) delivered(seg *segment, offset int64) bool {
	low := s.lowest()
	return low.Segment > seg.number || low.Segment == seg.number && low.Offset >= offset && offset > 0
}

// next waits for findings and gives up to limit of them, or up to about maxBytes.
func (r *reader) next(ctx context.Context, limit int, maxBytes int64) (batch, error) {
	for {
		s := r.spool
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return batch{}, ErrClosed
		}
		at := s.cursors[r.name]
		seg := s.seek(at)
		wake, from := s.wake, *at
		var size int64
		if seg != nil {
			size = seg.size
		}
		s.mu.Unlock()
		if seg == nil {
			select {
			case <-wake:
				continue
			case <-ctx.Done():
				return batch{}, context.Cause(ctx)
			}
		}
		b, err := r.read(seg, from, size, limit, maxBytes)
		switch {
		case os.IsNotExist(err) && r.gone(seg): // given up meanwhile
			continue
		case passing(err):
			s.log.Warn("spool cannot be read now", "error", err)
			if !sleep(ctx, firstPause) {
				return batch{}, context.Cause(ctx)
			}
			continue
		case err != nil:
			// An unreadable file costs itself: the next ones must go on.
			s.report(Event{Kind: EventCorrupt, Detail: fmt.Sprintf("read spool: %v", err), Findings: seg.frames - min(from.Frames, seg.frames)})
			s.count("spool_corrupt", max(1, seg.frames-min(from.Frames, seg.frames)))
			b = batch{end: cursor{Segment: seg.number, Offset: size, Frames: seg.frames, Epoch: from.Epoch, Seq: from.Seq}}
		}
		if len(b.envelopes) > 0 {
			return b, nil
		}
		r.acknowledge(b)
	}
}

// passing says that an error is about this process or host and not about the
// file: no finding is given up for it.
func passing(err error) bool {
	for _, code := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINTR, unix.EAGAIN} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// gone says whether the segment was removed by the spool itself.
func (r *reader) gone(seg *segment) bool {
	r.spool.mu.Lock()
	defer r.spool.mu.Unlock()
	return r.spool.indexOf(seg.number) < 0
}

// seek moves the cursor over segments it is done with and gives the segment to
// read, or nil when all is read. Callers hold mu.
func (s *Spool) seek(c *cursor) *segment {
	for i, seg := range s.segments {
		if seg.number < c.Segment {
			continue
		}
		if seg.number > c.Segment {
			*c = cursor{Segment: seg.number, Epoch: c.Epoch, Seq: c.Seq}
		}
		if c.Offset < seg.size {
			return seg
		}
		if i == len(s.segments)-1 {
			return nil
		}
	}
	return nil
}

// read decodes frames from the cursor on. A batch without envelopes only moves
// the cursor over damage.
func (r *reader) read(seg *segment, from cursor, size int64, limit int, maxBytes int64) (batch, error) {
	if r.segment != seg.number || from.Offset < r.offset || from.Offset >= r.offset+int64(len(r.data)) {
		if err := r.load(seg, from.Offset, size); err != nil {
			return batch{}, err
		}
	}
	b := batch{end: from}
	b.end.Segment = seg.number
	data := r.data[from.Offset-r.offset:]
	var taken int64
	for len(data) > 0 && len(b.envelopes) < limit && taken < maxBytes {
		f, skipped, n, _ := nextFrame(data)
		if skipped > 0 || n == 0 {
			r.damage(seg, f, n, b.end)
		}
		if n == 0 {
			b.end.Offset = r.offset + int64(len(r.data))
			break
		}
		if taken > 0 && taken+int64(n) > maxBytes {
			break
		}
		b.envelopes = append(b.envelopes, rules.Envelope{Seq: f.seq, Epoch: seg.epoch, ID: f.id, Finding: json.RawMessage(f.finding)})
		b.end.Offset += int64(skipped + n)
		b.end.Frames++
		b.end.Epoch, b.end.Seq = seg.epoch, f.seq
		taken += int64(n)
		data = data[skipped+n:]
	}
	return b, nil
}

// load reads the rest of a segment into memory; a segment is small.
func (r *reader) load(seg *segment, offset, size int64) error {
	r.segment = 0
	f, err := os.Open(seg.path)
	if err != nil {
		return err
	}
	defer f.Close()
	// Batches already handed out share the old memory: never reuse it.
	data := make([]byte, size-offset)
	n, err := io.ReadFull(io.NewSectionReader(f, offset, size-offset), data)
	if err != nil && n == 0 {
		return err
	}
	// A file cut short behind our back: what is missing reads as damage.
	r.segment, r.offset, r.data = seg.number, offset, data
	return nil
}

// damage reports bytes that went bad after Open looked at them.
func (r *reader) damage(seg *segment, f frame, size int, at cursor) {
	s := r.spool
	s.mu.Lock()
	known := seg.damaged
	seg.damaged = true
	s.mu.Unlock()
	if known {
		return
	}
	lost := uint64(1)
	if size > 0 && at.Epoch == seg.epoch && f.seq > at.Seq+1 {
		lost = f.seq - at.Seq - 1
	}
	s.count("spool_corrupt", lost)
	s.report(Event{Kind: EventCorrupt, Findings: lost, Detail: "bytes went bad in " + filepath.Base(seg.path)})
}

// acknowledge moves the destination's cursor past the batch and removes what
// every destination has.
func (r *reader) acknowledge(b batch) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.cursors[r.name]; b.end.Segment < c.Segment {
		return // given up meanwhile
	}
	*s.cursors[r.name] = b.end
	s.trim()
	s.saveCursors()
	close(s.settled)
	s.settled = make(chan struct{})
}

// trim removes segments that every destination has, and empties the last one
// when it is worth it. Callers hold mu.
func (s *Spool) trim() {
	low := s.lowest()
	for len(s.segments) > 1 && (s.segments[0].number < low.Segment || s.delivered(s.segments[0], s.segments[0].size)) {
		s.removeOldest()
	}
	if len(s.segments) != 1 || s.writing || s.closed || s.file == nil {
		return
	}
	if last := s.segments[0]; last.size >= trimAbove && s.delivered(last, last.size) {
		s.file.Close()
		s.file = nil
		if err := s.rotate(); err == nil {
			s.removeOldest()
		}
	}
}

func (s *Spool) saveCursors() {
	raw, err := json.Marshal(s.cursors)
	if err != nil {
		return
	}
	// Without fsync: an old cursor only costs repeats.
	path := filepath.Join(s.cfg.Dir, cursorFile)
	err = os.WriteFile(path+".tmp", raw, 0o600)
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		s.log.Warn("cannot note acknowledgements; findings may be sent twice", "error", err)
	}
}
