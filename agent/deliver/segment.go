package deliver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// segmentSuffix ends the name of a segment: NUMBER.EPOCH.FIRST.spool. The name
// tells order, epoch and first sequence number even when no byte of the content
// can be read.
const segmentSuffix = ".spool"

// segment is one file of frames. Its fields are guarded by Spool.mu.
type segment struct {
	number uint64
	epoch  string
	first  uint64 // sequence number of its first frame
	path   string

	size    int64  // bytes that are durable: readers stop here
	frames  uint64 // sound frames within size
	oldest  time.Time
	newest  time.Time
	damaged bool // the loss was reported at Open
}

func segmentName(number uint64, epoch string, first uint64) string {
	return fmt.Sprintf("%016d.%s.%016d%s", number, epoch, first, segmentSuffix)
}

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (segment, bool) {
	base, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return segment{}, false
	}
	parts := strings.Split(base, ".")
	if len(parts) != 3 || parts[1] == "" {
		return segment{}, false
	}
	number, err1 := strconv.ParseUint(parts[0], 10, 64)
	first, err2 := strconv.ParseUint(parts[2], 10, 64)
	if err1 != nil || err2 != nil || first == 0 || segmentName(number, parts[1], first) != name {
		return segment{}, false
	}
	return segment{number: number, epoch: parts[1], first: first}, true
}

// listSegments gives the folder's segments, oldest first.
func listSegments(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segs []*segment
	for _, e := range entries {
		if s, ok := parseSegmentName(e.Name()); ok && e.Type().IsRegular() {
			s.path = filepath.Join(dir, e.Name())
			segs = append(segs, &s)
		}
	}
	slices.SortFunc(segs, func(a, b *segment) int { return int(int64(a.number - b.number)) })
	return segs, nil
}

// scan is what a segment's bytes hold.
type scan struct {
	frames         uint64
	oldest, newest time.Time
	end            int64  // after the last sound frame
	next           uint64 // sequence number after the last sound frame
	missing        uint64 // numbers that damage swallowed between sound frames
	damagedBytes   int64
	tailDamaged    bool // the bytes after end were written once and cannot be read
	torn           bool // the bytes after end are a write that never ended
}

// scanSegment walks the bytes of a segment whose first number is first.
func scanSegment(b []byte, first uint64) scan {
	r := scan{next: first}
	for len(b) > 0 {
		f, skipped, size, torn := nextFrame(b)
		if size == 0 {
			r.tailDamaged = skipped > 0 || !torn
			r.torn = !r.tailDamaged
			if r.tailDamaged {
				r.damagedBytes += int64(len(b))
			}
			return r
		}
		if r.frames == 0 {
			r.oldest = f.time
		}
		r.newest = f.time
		if f.seq > r.next {
			r.missing += f.seq - r.next
		}
		r.damagedBytes += int64(skipped)
		r.frames++
		r.next = f.seq + 1
		r.end += int64(skipped + size)
		b = b[skipped+size:]
	}
	return r
}

// load scans the segment's file and takes over what it found.
func (s *segment) load() (scan, error) {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return scan{}, err
	}
	r := scanSegment(b, s.first)
	s.frames, s.oldest, s.newest = r.frames, r.oldest, r.newest
	s.size = r.end
	return r, nil
}

// syncDir makes the creation, renaming and removal of files in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// writeFileAtomic puts content at path so that a crash leaves the old content or
// the new one: write aside, fsync, rename, fsync the folder.
func writeFileAtomic(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}
