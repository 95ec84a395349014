package packfetch

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// arrival is a verified pack on its way into the folder. Renames alone move it,
// so that a crash leaves the old pack or the new one.
type arrival struct {
	name string
	path string // where it shall lie
	part string // where it was written
}

func (a arrival) old() string { return a.part + ".old" }

// store puts the pack in place and keeps the one before. What a crash left under
// the names used meanwhile goes first.
func (a arrival) store() error {
	moving := a.part + ".moving" // a second name: the arrival may be tried again
	for _, left := range []string{a.old(), moving} {
		if err := os.Remove(left); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("store pack: %w", err)
		}
	}
	if err := os.Link(a.path, a.old()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep the pack in force: %w", err)
	}
	if err := os.Link(a.part, moving); err != nil {
		return fmt.Errorf("store pack: %w", err)
	}
	if err := os.Rename(moving, a.path); err != nil {
		return fmt.Errorf("store pack: %w", err)
	}
	return nil
}

// undo puts back what lay there before.
func undo(list []arrival) error {
	var failed []error
	for _, a := range list {
		err := os.Rename(a.old(), a.path)
		if errors.Is(err, os.ErrNotExist) {
			err = os.Remove(a.path)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("put back the pack in force: %w", err))
		}
	}
	return errors.Join(failed...)
}

// clean drops what is no longer needed. What stays behind is overwritten by the
// next arrival, so that an error needs no answer.
func (a arrival) clean() {
	_ = os.Remove(a.old())
	_ = os.Remove(a.part)
}

// sumOf is the SHA-256 of a file, "" of one that is not there.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read pack in force: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read pack in force: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync pack folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync pack folder: %w", err)
	}
	return nil
}
