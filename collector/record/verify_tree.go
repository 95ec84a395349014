package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sallyport/collector/store"
)

// checkpoints opens all checkpoints there are.
func (v *verifier) checkpoints(ctx context.Context) error {
	known, err := verifiers(v.Keys)
	if err != nil {
		return err
	}
	kept, err := v.Store.Checkpoints(ctx)
	if err != nil {
		return err
	}
	type text struct{ where, note string }
	var texts []text
	for _, c := range kept {
		texts = append(texts, text{fmt.Sprintf("checkpoint of %d entries in the store", c.Size), c.Note})
	}
	for i, n := range v.Notes {
		texts = append(texts, text{fmt.Sprintf("checkpoint %d of those kept elsewhere", i+1), n})
	}
	for _, t := range texts {
		p, err := OpenCheckpoint(t.note, known)
		var unknown *note.UnverifiedNoteError
		switch {
		case errors.As(err, &unknown):
			err = v.differ("%s: signed by a key that is not known here; give another collector's public key with --key", t.where)
		case err != nil:
			err = v.differ("%s: %v", t.where, err)
		default:
			v.points[p.Size] = append(v.points[p.Size], p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func verifiers(keys []string) (note.Verifiers, error) {
	var known []note.Verifier
	for _, k := range keys {
		x, err := note.NewVerifier(strings.TrimSpace(k))
		if err != nil {
			return nil, fmt.Errorf("read public key: %w", err)
		}
		known = append(known, x)
	}
	return note.VerifierList(known...), nil
}

// entries walks the record and rebuilds its tree.
func (v *verifier) entries(ctx context.Context) error {
	size, err := v.Store.RecordSize(ctx)
	if err != nil {
		return err
	}
	if err := v.point(); err != nil { // an empty record may be signed, too
		return err
	}
	for v.out.Entries < size {
		list, err := v.Store.Record(ctx, v.out.Entries, page)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for i := range list {
			if v.out.Entries == size {
				break // came while this was running
			}
			if err := v.entry(ctx, &list[i]); err != nil {
				return err
			}
		}
	}
	v.out.Root = v.root().String()
	if v.out.Entries < size {
		if err := v.differ("the record says that it has %d entries, and has %d", size, v.out.Entries); err != nil {
			return err
		}
	}
	for n := range v.points {
		if n > v.out.Entries {
			if err := v.differ("a checkpoint was signed over %d entries, and the record has %d: its end is missing", n, v.out.Entries); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verifier) entry(ctx context.Context, e *store.RecordEntry) error {
	if e.N != v.out.Entries {
		if err := v.differ("entry %d is missing: %d follows %d", v.out.Entries, e.N, v.out.Entries-1); err != nil {
			return err
		}
		return errEnough // from here on nothing can agree
	}
	if err := v.document(ctx, e); err != nil {
		return err
	}
	for _, h := range v.grow(leafHash(*e)) {
		same, err := v.stored.next(ctx, h)
		if err != nil {
			return err
		}
		if !same {
			if err := v.differ("entry %d (%s %s of %s): the tree's hashes that were kept are not its", e.N, e.Kind, e.ID, e.Agent); err != nil {
				return err
			}
		}
	}
	v.out.Entries++
	return v.point()
}

// point compares the tree with the checkpoints of its size.
func (v *verifier) point() error {
	for _, p := range v.points[v.out.Entries] {
		if v.root() != p.Root {
			if err := v.differ("the first %d entries are not those that %s signed on %s", v.out.Entries, p.Key, p.At.Format(time.RFC3339)); err != nil {
				return err
			}
			continue
		}
		v.out.Checkpoints++
	}
	return nil
}
