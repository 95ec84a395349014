package collector

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"sallyport/collector/identity"
	"sallyport/collector/record"
	"sallyport/collector/store"
	"sallyport/collector/stream"
)

// drainTimeout is how long a backup waits for the store to have what the stream
// had when it began.
const drainTimeout = time.Minute

// backup writes the CA and the store into a tar file at path.
func (c *Collector) backup(ctx context.Context, path string) (err error) {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("path is %q; give an absolute path", path)
	}
	if err := c.drain(ctx); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create backup: %w", err)
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	temporary, err := os.MkdirTemp(c.cfg.State, "backup")
	if err != nil {
		return fmt.Errorf("make backup folder: %w", err)
	}
	defer os.RemoveAll(temporary)
	files := identity.Files(c.cfg.Identity, c.cfg.State)
	maps.Copy(files, record.Files(c.cfg.State))
	// The checkpoints are copied before the store: a restored store must not have
	// less than was signed.
	if files[record.CheckpointsName], err = copyInto(temporary, files[record.CheckpointsName]); err != nil {
		return fmt.Errorf("copy checkpoints: %w", err)
	}
	if c.cfg.Store.Postgres == "" {
		copied := filepath.Join(temporary, store.SQLiteFile)
		if err := c.store.CopyTo(ctx, copied); err != nil {
			return err
		}
		files[store.SQLiteFile] = copied
	}
	w := tar.NewWriter(out)
	for _, name := range backupOrder {
		if _, err := os.Stat(files[name]); errors.Is(err, os.ErrNotExist) {
			continue // no rotation, or no SQLite
		}
		if err := addFile(w, name, files[name]); err != nil {
			return fmt.Errorf("write backup: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return out.Sync()
}

// backupOrder is what a backup may hold.
var backupOrder = []string{"ca/ca.crt", "ca/ca.key", "ca/ca-bridge.crt", record.PublicName, record.KeyName, record.CheckpointsName, store.SQLiteFile}

// drain waits until the store has what the stream has.
func (c *Collector) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for {
		p, err := c.pending(ctx)
		if err != nil {
			return fmt.Errorf("wait for store: %w", err)
		}
		if p == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for store: %d entries of the stream are not in it yet", p)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// pending is how many entries store or record have not taken yet.
func (c *Collector) pending(ctx context.Context) (uint64, error) {
	kept, err := c.stream.Position(ctx, stream.StoreConsumer)
	if err != nil {
		return 0, err
	}
	recorded, err := c.stream.Position(ctx, stream.RecordConsumer)
	return max(kept.Pending, recorded.Pending), err
}

// copyInto copies a file into a folder, under a name of its own; one that does
// not exist stays as it is named.
func copyInto(folder, path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", err
	}
	target := filepath.Join(folder, filepath.Base(path))
	return target, os.WriteFile(target, text, 0o600)
}

func addFile(w *tar.Writer, name, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime()}); err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}

// Restore puts a backup into a state folder that has no CA and no store yet.
func Restore(cfg Config, path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open backup: %w", err)
	}
	defer in.Close()
	targets := identity.Files(cfg.Identity, cfg.State)
	maps.Copy(targets, record.Files(cfg.State))
	targets[store.SQLiteFile] = filepath.Join(cfg.State, store.SQLiteFile)
	for _, target := range targets {
		if _, err := os.Stat(target); err == nil {
			return fmt.Errorf("restore: %s exists; restore into an empty state folder", target)
		}
	}
	found := map[string]bool{}
	r := tar.NewReader(in)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read backup: %w", err)
		}
		target, ok := targets[h.Name]
		if !ok || h.Typeflag != tar.TypeReg {
			return fmt.Errorf("read backup: %q does not belong in a backup", h.Name)
		}
		if err := extract(target, r); err != nil {
			return fmt.Errorf("restore %s: %w", h.Name, err)
		}
		found[h.Name] = true
	}
	if !found["ca/ca.crt"] || !found["ca/ca.key"] {
		return errors.New("read backup: it holds no CA")
	}
	return nil
}

func extract(path string, in io.Reader) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Sync()
}
