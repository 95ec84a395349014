package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sallyport/collector/store"
)

// Verification is what Verify found.
type Verification struct {
	Entries     int64    `json:"entries"`
	Removed     int64    `json:"removed"` // entries whose documents went with age
	Root        string   `json:"root"`
	Checkpoints int      `json:"checkpoints"` // that agree
	Findings    int64    `json:"findings"`    // rows of the store that agree
	Packets     int64    `json:"packets"`     // of how many findings
	Decisions   int64    `json:"decisions"`
	Differences []string `json:"differences,omitempty"` // the first ones
}

// maxDifferences is how many differences Verify tells before it stops.
const maxDifferences = 20

// errEnough ends a verification that has found enough.
var errEnough = errors.New("enough differences")

// Verifying is what Verify is given.
type Verifying struct {
	Store *store.Store
	// Keys are the public keys whose checkpoints count.
	Keys []string
	// Notes are checkpoints kept elsewhere: the collector's file, and what the
	// exporters' receivers have.
	Notes []string
	// Keep is how long documents are kept: one that went earlier is a difference.
	// 0: for ever.
	Keep time.Duration
	// Wait is how long what is in the store and not yet in the record, or the
	// reverse, may take to come: both read the stream at their own pace.
	Wait time.Duration
}

// page is how many rows are read at once.
const page = 500

// verifier carries a verification on.
type verifier struct {
	Verifying
	out     Verification
	points  map[int64][]Point
	tree    []tlog.Hash // roots of the full subtrees, the largest first
	sizes   []int64     // theirs
	stored  hashes
	waiting []func(context.Context) (string, error) // looked at again, later
}

// Verify recomputes the record from its first entry and compares it with
// everything that is kept beside it.
func Verify(ctx context.Context, in Verifying) (Verification, error) {
	v := &verifier{Verifying: in, points: map[int64][]Point{}, stored: hashes{store: in.Store, last: -1}}
	for _, step := range []func(context.Context) error{v.checkpoints, v.entries, v.findings, v.packets, v.decisions, v.unrecorded, v.again} {
		err := step(ctx)
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return v.out, err
		}
	}
	return v.out, nil
}

func (v *verifier) differ(format string, args ...any) error {
	v.out.Differences = append(v.out.Differences, fmt.Sprintf(format, args...))
	if len(v.out.Differences) >= maxDifferences {
		return errEnough
	}
	return nil
}

// look compares something now, and puts it off where it does not agree.
func (v *verifier) look(ctx context.Context, count *int64, look func(context.Context) (string, error)) error {
	diff, err := look(ctx)
	switch {
	case err != nil:
		return err
	case diff != "":
		v.waiting = append(v.waiting, look)
	default:
		*count++
	}
	return nil
}

// errRemoved is of an entry whose document went with age.
var errRemoved = errors.New("removed with age")

func (v *verifier) recorded(ctx context.Context, kind, agent, id string, revision uint64) (Document, error) {
	e, err := v.Store.RecordEntry(ctx, kind, agent, id, revision)
	if err != nil {
		return Document{}, err
	}
	if !e.Removed.IsZero() {
		return Document{}, errRemoved
	}
	var d Document
	if err := json.Unmarshal([]byte(e.Document), &d); err != nil {
		return Document{}, nil // told where the entry itself is checked
	}
	return d, nil
}

// again looks at what did not agree until it does or the time is over.
func (v *verifier) again(ctx context.Context) error {
	for end := time.Now().Add(v.Wait); ; {
		var still []func(context.Context) (string, error)
		var diffs []string
		for _, look := range v.waiting {
			diff, err := look(ctx)
			if err != nil {
				return err
			}
			if diff != "" {
				still, diffs = append(still, look), append(diffs, diff)
			}
		}
		if v.waiting = still; len(still) == 0 {
			return nil
		}
		if time.Now().After(end) {
			for _, d := range diffs {
				if err := v.differ("%s", d); err != nil {
					return err
				}
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}
