package rules

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads entity files: each path is a file, or a folder that is walked for
// *.yaml and *.yml. The error is Faults when it is about content.
func Load(paths ...string) ([]Entity, error) {
	var entities []Entity
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, fmt.Errorf("load entities: %w", err)
		}
		found, err := load(os.DirFS(filepath.Dir(abs)), filepath.Base(abs), p)
		if err != nil {
			return nil, err
		}
		entities = append(entities, found...)
	}
	return entities, nil
}

// LoadFS reads the entity files below root in fsys, a file or a folder.
func LoadFS(fsys fs.FS, root string) ([]Entity, error) {
	return load(fsys, root, root)
}

// load reads the files below root; shown is what the user calls root.
func load(fsys fs.FS, root, shown string) ([]Entity, error) {
	var entities []Entity
	var faults Faults
	err := fs.WalkDir(fsys, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() || (name != root && !isYAML(name)) {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		found, err := ParseEntities(shown+strings.TrimPrefix(name, root), data)
		if f, ok := err.(Faults); ok { //nolint:errorlint // ParseEntities returns Faults, never wrapped
			faults = append(faults, f...)
			return nil
		}
		entities = append(entities, found...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load entities from %s: %w", shown, err)
	}
	return entities, faults.asError()
}

func isYAML(name string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, path.Ext(name))
}
