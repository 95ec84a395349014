package packs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"sallyport/rules/pack"
)

// MaxArchive bounds a pack's archive, in bytes.
const MaxArchive = pack.MaxArchive

// Add verifies a pack and offers it to a group in the place of its older version.
// What is verified is the copy: the source may change under the reader.
func (p *Packs) Add(group string, source func(io.Writer) error) (Held, error) {
	if !p.cfg.Known(group) {
		return Held{}, fmt.Errorf("add pack: no group %q; packs.groups names the groups beside %q", group, All)
	}
	trust, err := p.root()
	if err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	folder := filepath.Join(p.folder, group)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	unlock, err := p.lock()
	if err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	defer unlock()
	seen := filepath.Join(folder, seenFile)
	if trust.Seen, err = pack.ReadSeen(seen); err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	copied, err := write(folder, source)
	if err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	defer os.Remove(copied) // a no-op once renamed
	opened, err := pack.Open(copied, trust)
	if err == nil {
		err = p.fits(group, opened)
	}
	if err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	// The guard against going back is written first: a crash in between asks for
	// the same pack once more, which is no step back.
	if err := pack.WriteSeen(seen, trust.Seen.Accept(opened)); err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	final := filepath.Join(folder, opened.Manifest.Name+suffix)
	if err := os.Rename(copied, final); err != nil {
		return Held{}, fmt.Errorf("add pack: %w", err)
	}
	return describe(final, pack.Trust{Root: trust.Root})
}

// fits holds a local pack to what agents will accept beside the vendor's packs
// of its group, so that whoever adds it hears of it and not every agent.
func (p *Packs) fits(group string, added *pack.Pack) error {
	held, err := p.List()
	if err != nil {
		return err
	}
	for _, h := range held {
		if h.Refused != "" || (h.Group != group && h.Group != All && group != All) || h.Name == added.Manifest.Name {
			continue
		}
		other, err := pack.OpenUnverified(h.path) // List has verified it
		if err != nil {
			return err
		}
		vendor, local := other, added
		if added.Role == pack.RoleVendor {
			vendor, local = added, other
		}
		if (added.Role == pack.RoleVendor) == (h.Role == string(pack.RoleVendor)) {
			continue
		}
		if err := pack.CheckLocal(vendor, local); err != nil {
			return fmt.Errorf("beside %s %d of group %s: %w", h.Name, h.Version, h.Group, err)
		}
	}
	return nil
}

// ErrNotHeld means that there is no such pack.
var ErrNotHeld = errors.New("no such pack is offered")

// Remove offers a pack no longer. Agents keep it until a higher version comes.
func (p *Packs) Remove(group, name string) error {
	if !p.cfg.Known(group) || !pack.ValidName(name) {
		return fmt.Errorf("remove pack: %w: %q in group %q", ErrNotHeld, name, group)
	}
	unlock, err := p.lock()
	if err != nil {
		return fmt.Errorf("remove pack: %w", err)
	}
	defer unlock()
	err = os.Remove(filepath.Join(p.folder, group, name+suffix))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove pack: %w: %q in group %q", ErrNotHeld, name, group)
	}
	if err != nil {
		return fmt.Errorf("remove pack: %w", err)
	}
	return nil
}

// lock holds off other processes that change the folder.
func (p *Packs) lock() (unlock func(), err error) {
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return nil, fmt.Errorf("make pack folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(p.folder, lockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock pack folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock pack folder: %w", err), f.Close())
	}
	return func() { f.Close() }, nil
}

// write puts what source gives into a new file of the folder.
func write(folder string, source func(io.Writer) error) (path string, err error) {
	f, err := os.CreateTemp(folder, ".add-*")
	if err != nil {
		return "", fmt.Errorf("write pack: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = source(&bounded{f, MaxArchive})
	// Whoever adds a pack as root must not keep the collector's user from it.
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("write pack: %w", err)
	}
	return f.Name(), nil
}

// bounded refuses what no pack may have.
type bounded struct {
	w    io.Writer
	left int64
}

// Write writes up to the bound.
func (b *bounded) Write(data []byte) (int, error) {
	if b.left -= int64(len(data)); b.left < 0 {
		return 0, pack.ErrTooBig
	}
	return b.w.Write(data)
}
