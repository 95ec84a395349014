package store

import (
	"encoding/json"
	"fmt"
	"slices"
)

// maxRanges bounds how many runs of an agent's sequence are remembered apart, so
// that a hostile agent cannot fill the store. Beyond it the oldest hole is given
// up as filled.
const maxRanges = 1000

// Range is a run of numbers, both ends in it.
type Range [2]uint64

// Ranges are the numbers that came, in order, without overlap.
type Ranges []Range

func parseRanges(text string) (Ranges, error) {
	if text == "" {
		return nil, nil
	}
	var r Ranges
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return nil, fmt.Errorf("read sequence: %w", err)
	}
	return r, nil
}

func (r Ranges) String() string {
	text, err := json.Marshal(r)
	if err != nil { // numbers always marshal
		panic(err)
	}
	return string(text)
}

// Add puts n in, and says whether it was new.
func (r *Ranges) Add(n uint64) bool {
	s := *r
	i, _ := slices.BinarySearchFunc(s, n, func(x Range, n uint64) int {
		switch {
		case x[1] < n:
			return -1
		case x[0] > n:
			return 1
		}
		return 0
	})
	if i < len(s) && s[i][0] <= n && n <= s[i][1] {
		return false
	}
	left := i > 0 && s[i-1][1]+1 == n
	right := i < len(s) && n+1 == s[i][0]
	switch {
	case left && right:
		s[i-1][1] = s[i][1]
		s = slices.Delete(s, i, i+1)
	case left:
		s[i-1][1] = n
	case right:
		s[i][0] = n
	default:
		s = slices.Insert(s, i, Range{n, n})
	}
	if len(s) > maxRanges { // the oldest hole is given up as filled
		s[0][1] = s[1][1]
		s = slices.Delete(s, 1, 2)
	}
	*r = s
	return true
}

// High is the highest number that came, 0 for none.
func (r Ranges) High() uint64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1][1]
}

// Missing are the holes below High, counted from 1.
func (r Ranges) Missing() Ranges {
	var holes Ranges
	next := uint64(1)
	for _, x := range r {
		if x[0] > next {
			holes = append(holes, Range{next, x[0] - 1})
		}
		next = x[1] + 1
	}
	return holes
}

// Count is how many numbers are in.
func (r Ranges) Count() uint64 {
	var n uint64
	for _, x := range r {
		n += x[1] - x[0] + 1
	}
	return n
}
