package deliver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sallyport/rules"
)

// FileConfig is the destination "file": findings as JSON, one a line.
type FileConfig struct {
	Path     string `yaml:"path"`
	MaxBytes int64  `yaml:"max_bytes"` // above this the file becomes PATH.1, PATH.1 becomes PATH.2, ...
	Keep     int    `yaml:"keep"`      // how many old files stay
}

func defaultFile() FileConfig {
	return FileConfig{Path: "/var/log/sallyport/findings.jsonl", MaxBytes: 100 << 20, Keep: 10}
}

func validateFile(c Config) error {
	switch {
	case !filepath.IsAbs(c.File.Path):
		return fmt.Errorf("deliver.file.path is %q: use an absolute path", c.File.Path)
	case c.File.MaxBytes < 1<<10:
		return fmt.Errorf("deliver.file.max_bytes is %d: use 1024 or more", c.File.MaxBytes)
	case c.File.Keep < 1:
		return errors.New("deliver.file.keep is below 1: rotation would remove findings at once")
	}
	return nil
}

// file writes findings to a file that rotates. It opens the path for every
// batch, so that logrotate may move it away too.
type file struct{ cfg FileConfig }

func openFile(o opening) (destination, error) {
	if err := os.MkdirAll(filepath.Dir(o.cfg.File.Path), 0o750); err != nil {
		return nil, fmt.Errorf("open findings file: %w", err)
	}
	return &file{o.cfg.File}, nil
}

// Send writes and fsyncs the batch. A write cut short is taken back, so that the
// repeat does not follow half a line.
func (d *file) Send(_ context.Context, batch []rules.Envelope) (rules.Receipt, error) {
	text := lines(batch)
	if err := d.rotate(int64(len(text))); err != nil {
		return rules.Receipt{}, fmt.Errorf("rotate findings file: %w", err)
	}
	f, err := os.OpenFile(d.cfg.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return rules.Receipt{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return rules.Receipt{}, err
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Truncate(info.Size())
		return rules.Receipt{}, fmt.Errorf("write findings file: %w", err)
	}
	if info.Size() == 0 {
		if err := syncDir(filepath.Dir(d.cfg.Path)); err != nil {
			return rules.Receipt{}, fmt.Errorf("sync folder: %w", err)
		}
	}
	return rules.Receipt{Accepted: len(batch)}, nil
}

// rotate shifts the old files when n bytes more would be too many.
func (d *file) rotate(n int64) error {
	info, err := os.Stat(d.cfg.Path)
	if os.IsNotExist(err) || err == nil && (info.Size() == 0 || info.Size()+n <= d.cfg.MaxBytes) {
		return nil
	}
	if err != nil {
		return err
	}
	name := func(i int) string { return fmt.Sprintf("%s.%d", d.cfg.Path, i) }
	for i := d.cfg.Keep - 1; i >= 1; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.Rename(d.cfg.Path, name(1))
}

func (d *file) Close() error { return nil }
