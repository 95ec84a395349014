package feed

import (
	"fmt"
	"io"

	"github.com/goccy/go-yaml"

	"sallyport/rules"
)

// Write writes entities as an entity file that rules.ParseEntities reads back.
func Write(w io.Writer, entities []rules.Entity) error {
	for i := range entities {
		data, err := yaml.Marshal(&entities[i])
		if err != nil {
			return fmt.Errorf("write entity %s: %w", entities[i].ID, err)
		}
		if i > 0 {
			data = append([]byte("---\n"), data...)
		}
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("write entities: %w", err)
		}
	}
	return nil
}
