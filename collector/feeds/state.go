package feeds

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sallyport/rules"
	"sallyport/rules/feed"
	"sallyport/rules/pack"
)

// Outcome is what came of a feed so far. It is kept on disk, beside the set that
// was taken last.
type Outcome struct {
	Name       string      `json:"name"`
	Kind       string      `json:"kind"`
	Tried      time.Time   `json:"tried,omitzero"`
	Succeeded  time.Time   `json:"succeeded,omitzero"` // read whole, changed or not
	Changed    time.Time   `json:"changed,omitzero"`   // when the set in force was taken
	Next       time.Time   `json:"next,omitzero"`
	Failure    string      `json:"failure,omitempty"` // of the last try: the set before is in force
	Failures   int         `json:"failures,omitempty"`
	Entities   int         `json:"entities"` // in force
	Indicators int         `json:"indicators"`
	Size       int         `json:"size"`   // of the list that was taken last, by feed.Count
	Report     feed.Report `json:"report"` // of the list that was read last, taken or not
	State      feed.State  `json:"state"`  // of the list that was taken last
	Asked      string      `json:"asked"`  // what State is about: another source of the same name starts anew
	Pack       string      `json:"pack,omitempty"`
	Group      string      `json:"group,omitempty"`
	Version    uint64      `json:"version,omitempty"` // of the pack
	Built      time.Time   `json:"built,omitzero"`
	Shrunk     bool        `json:"shrunk,omitempty"` // the set in force was forced, and its packs say so
}

// folder keeps the outcomes and sets.
type folder string

func (f folder) outcome(s Source) (Outcome, error) {
	o := Outcome{Name: s.Name, Kind: s.Kind}
	data, err := os.ReadFile(filepath.Join(string(f), s.Name+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("read outcome: %w", err)
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("read outcome of %s: %w", s.Name, err)
	}
	return o, nil
}

func (f folder) keep(o Outcome) error {
	data, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode outcome: %w", err)
	}
	return f.replace(o.Name+".json", func(w io.Writer) error { _, err := w.Write(data); return err })
}

func (f folder) setPath(name string) string { return filepath.Join(string(f), name+".set") }

// set is what was taken of a feed last, nil when nothing was. It is kept as a
// pack that nobody has signed, since that reads a million rows in seconds.
func (f folder) set(name string) ([]rules.Entity, error) {
	p, err := pack.OpenUnverified(f.setPath(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read last set: %w", err)
	}
	return p.Entities()
}

func (f folder) keepSet(name string, entities []rules.Entity, at time.Time) error {
	c := pack.Contents{Name: name, Version: 1, Created: at, Expires: at.AddDate(1, 0, 0), Entities: entities}
	return f.replace(name+".set", func(w io.Writer) error { return pack.Build(w, c, nil) })
}

// replace writes a file whole or not at all.
func (f folder) replace(name string, content func(io.Writer) error) error {
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fmt.Errorf("make folder of feeds: %w", err)
	}
	file, err := os.CreateTemp(string(f), ".write-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(file.Name()) // a no-op once renamed
	err = content(file)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(file.Name(), filepath.Join(string(f), name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
