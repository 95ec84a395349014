package export

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// jsonFormat is the finding document as the agent sent it. A later revision has
// the same id and a higher revision.
type jsonFormat struct{}

func (jsonFormat) ContentType() string { return "application/json" }

func (jsonFormat) Append(dst []byte, item *Item) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	if err := json.Compact(out, item.Raw); err != nil {
		return dst, fmt.Errorf("write JSON: %w", err)
	}
	return out.Bytes(), nil
}
