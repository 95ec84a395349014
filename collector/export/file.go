package export

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// fileSettings are the settings of type "file".
type fileSettings struct {
	// Path of the file, absolute.
	Path string `yaml:"path"`
	// MaxBytes is the size above which the file becomes PATH.1, PATH.1 becomes
	// PATH.2, and so on.
	MaxBytes int64 `yaml:"max_bytes"`
	// Keep is how many old files stay.
	Keep int `yaml:"keep"`
}

func readFileSettings(s Settings) (fileSettings, error) {
	cfg := fileSettings{MaxBytes: 100 << 20, Keep: 10}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	switch {
	case !filepath.IsAbs(cfg.Path):
		return cfg, fmt.Errorf("settings.path is %q; give an absolute path", cfg.Path)
	case cfg.MaxBytes < 1<<10:
		return cfg, fmt.Errorf("settings.max_bytes is %d; give at least 1024", cfg.MaxBytes)
	case cfg.Keep < 1 || cfg.Keep > 10000:
		return cfg, fmt.Errorf("settings.keep is %d; give 1 to 10000", cfg.Keep)
	}
	return cfg, nil
}

func checkFile(s Settings) error {
	_, err := readFileSettings(s)
	return err
}

// file writes one finding a line. A receiver sees a new revision as a new line.
// After a crash the last batch may stand twice: id and revision tell.
type file struct {
	cfg    fileSettings
	format Format
}

func openFile(o opening) (Exporter, error) {
	cfg, err := readFileSettings(o.settings)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(cfg.Path), 0o750); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	return &file{cfg, o.format}, nil
}

func (f *file) Close() error { return nil }

// Export writes and syncs the batch. The file is opened each time, so that
// logrotate may move it away too. A write cut short is taken back: the repeat
// must not follow half a line.
func (f *file) Export(_ context.Context, items []Item) error {
	text, refused := lines(f.format, items)
	if len(text) > 0 {
		if err := f.write(text); err != nil {
			return err
		}
	}
	if len(refused) > 0 {
		return &Refused{refused}
	}
	return nil
}

// lines writes the items one a line, and says which cannot be written.
func lines(format Format, items []Item) ([]byte, []RefusedItem) {
	var text []byte
	var refused []RefusedItem
	for i := range items {
		next, err := format.Append(text, &items[i])
		if err != nil {
			refused = append(refused, RefusedItem{i, err.Error()})
			continue
		}
		text = append(next, '\n')
	}
	return text, refused
}

func (f *file) write(text []byte) (err error) {
	if err := f.rotate(int64(len(text))); err != nil {
		return fmt.Errorf("rotate file: %w", err)
	}
	out, err := os.OpenFile(f.cfg.Path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open file: %w", err)
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	st, err := out.Stat()
	if err != nil {
		return fmt.Errorf("stat file: %w", err)
	}
	if _, err := out.Write(text); err != nil {
		return errors.Join(fmt.Errorf("write file: %w", err), out.Truncate(st.Size()))
	}
	if err := out.Sync(); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	return nil
}

// rotate makes room when the file would grow beyond its bound.
func (f *file) rotate(more int64) error {
	st, err := os.Stat(f.cfg.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (st.Size() == 0 || st.Size()+more <= f.cfg.MaxBytes) {
		return nil
	}
	if err != nil {
		return err
	}
	for n := f.cfg.Keep; n > 0; n-- {
		from := f.cfg.Path
		if n > 1 {
			from += "." + strconv.Itoa(n-1)
		}
		if err := os.Rename(from, f.cfg.Path+"."+strconv.Itoa(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
