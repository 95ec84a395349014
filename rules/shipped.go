package rules

import (
	"embed"
	"fmt"
	"path/filepath"
	"time"
)

//go:embed designations/*.yaml
var designations embed.FS

// shippedOn is when the facts in designations/ were put together. It is the
// pack's version too.
var shippedOn = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// ShippedPack names what ships with this build.
func ShippedPack() Pack {
	return Pack{Name: "sallyport", Version: shippedOn.Format("2006.01.02"), Date: shippedOn}
}

// Shipped returns the entities that ship with this build.
func Shipped() ([]Entity, error) {
	return LoadFS(designations, "designations")
}

// ShippedSet compiles what ships with this build.
func ShippedSet(o Options) (*Set, error) {
	entities, err := Shipped()
	if err != nil {
		return nil, err
	}
	return Compile(ShippedPack(), entities, o)
}

// LoadSet compiles entity files and folders, each path as a pack of its own.
func LoadSet(o Options, paths ...string) (*Set, error) {
	b := NewBuilder(o)
	for _, path := range paths {
		if err := b.Path(path); err != nil {
			return nil, err
		}
	}
	return b.Set()
}

// Path adds an entity file, or a folder of them, as a pack of its own.
func (b *Builder) Path(path string) error {
	entities, err := Load(path)
	if err != nil {
		return err
	}
	b.Pack(Pack{Name: filepath.Base(path), Date: newestSource(entities)})
	for _, e := range entities {
		if err := b.Entity(e); err != nil {
			return fmt.Errorf("compile %s: %w", path, err)
		}
	}
	return nil
}

// newestSource is the date of the newest document the entities rest on.
func newestSource(entities []Entity) time.Time {
	var newest Date
	for _, e := range entities {
		for _, s := range e.Sources {
			newest = later(newest, s.Date)
		}
	}
	return newest.Start()
}
