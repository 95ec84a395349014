package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"sallyport/rules"
)

// matchedFile remembers with what the history was matched, in the state folder.
const matchedFile = "history-matched"

// matchedMagic begins the file: a list of eight-byte sums, sorted, follows.
const matchedMagic = "sallyport matched 1\n"

var errMatched = errors.New("not a list of what the history was matched with")

// matched is a sum for each tie of an indicator and for each detection with which
// the history was matched: enough to tell what is new, in eight bytes each. nil
// says that nothing was.
type matched struct{ sums []uint64 }

// matchedWith is the sums of a set and of a judge's detections.
func matchedWith(set *rules.Set, judge *rules.Judge) *matched {
	m := &matched{make([]uint64, 0, set.Len()+len(judge.Detections))}
	for t := range set.Ties() {
		m.sums = append(m.sums, sumOfTie(t))
	}
	for _, d := range judge.Detections {
		m.sums = append(m.sums, sumOfDetection(d))
	}
	slices.Sort(m.sums)
	m.sums = slices.Compact(m.sums)
	return m
}

func sumOfTie(t rules.Tie) uint64 { return sumOf("tie", string(t.Type), t.Value, t.Entity) }

func sumOfDetection(d rules.Detection) uint64 { return sumOf("detection", d.Ref().ID, d.Digest()) }

// sumOf is the first bytes of a SHA-256, so that no one can write an indicator
// that passes for another.
func sumOf(parts ...string) uint64 {
	buffer := make([]byte, 0, 128)
	for _, p := range parts {
		buffer = append(append(buffer, p...), 0)
	}
	sum := sha256.Sum256(buffer)
	return binary.LittleEndian.Uint64(sum[:])
}

func (m *matched) has(sum uint64) bool {
	if m == nil {
		return false
	}
	_, found := slices.BinarySearch(m.sums, sum)
	return found
}

// readMatched reads the file; nil when there is none.
func readMatched(path string) (*matched, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseMatched(data)
}

func parseMatched(data []byte) (*matched, error) {
	body, ok := bytes.CutPrefix(data, []byte(matchedMagic))
	if !ok || len(body)%8 != 0 {
		return nil, errMatched
	}
	m := &matched{make([]uint64, 0, len(body)/8)}
	for ; len(body) > 0; body = body[8:] {
		m.sums = append(m.sums, binary.LittleEndian.Uint64(body))
	}
	if !slices.IsSorted(m.sums) {
		return nil, errMatched
	}
	return m, nil
}

// write replaces the file whole.
func (m *matched) write(path string) error {
	data := append(make([]byte, 0, len(matchedMagic)+8*len(m.sums)), matchedMagic...)
	for _, sum := range m.sums {
		data = binary.LittleEndian.AppendUint64(data, sum)
	}
	part := path + ".part"
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", part, err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	return nil
}
