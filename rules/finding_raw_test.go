package rules

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPacketsOutAndIn(t *testing.T) {
	for name, tt := range map[string]struct{ in, bare, again string }{
		"none":    {`{"id":"f"}`, `{"id":"f"}`, `{"id":"f"}`},
		"null":    {`{"evidence":null}`, `{"evidence":null}`, `{"evidence":null}`},
		"packets": {`{"id":"f","evidence":{"pcapng":"eA==","sha256":"0","newer":[1]},"newer":{"a":1}}`, `{"evidence":{"newer":[1],"sha256":"0"},"id":"f","newer":{"a":1}}`, `{"evidence":{"newer":[1],"pcapng":"eA==","sha256":"0"},"id":"f","newer":{"a":1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			bare, err := WithoutPackets([]byte(tt.in))
			if diff := cmp.Diff(tt.bare, string(bare)); err != nil || diff != "" {
				t.Errorf("without packets: %v %s", err, diff)
			}
			again, err := WithPackets(bare, []byte("x"))
			if diff := cmp.Diff(tt.again, string(again)); err != nil || diff != "" {
				t.Errorf("with packets: %v %s", err, diff)
			}
		})
	}
	for _, bad := range []string{"", "[]", `{"evidence":1}`} {
		if _, err := WithoutPackets([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzWithoutPackets(f *testing.F) {
	f.Add([]byte(`{"id":"f","evidence":{"pcapng":"eA==","x":1}}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		bare, err := WithoutPackets(document)
		if err != nil {
			return
		}
		var finding struct {
			Evidence struct {
				PCAPNG json.RawMessage `json:"pcapng"`
			} `json:"evidence"`
		}
		if err := json.Unmarshal(bare, &finding); err != nil {
			t.Fatalf("%q: %v", bare, err)
		}
	})
}
