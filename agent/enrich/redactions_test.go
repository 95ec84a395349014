package enrich

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRedactionsGiveWhatRedactGives(t *testing.T) {
	r := newRedactions()
	for range 2 {
		for i := range maxRedactions + 10 {
			args := []string{"curl", "-u", fmt.Sprintf("me:secret%d", i), fmt.Sprintf("https://example.org/%d", i)}
			got := r.of(args)
			if diff := cmp.Diff(Redact(args), got); diff != "" {
				t.Fatal(diff)
			}
			got[0] = "changed by its caller"
		}
	}
	if n := len(r.known); n > maxRedactions {
		t.Errorf("%d are remembered, the bound is %d", n, maxRedactions)
	}
	if r.of(nil) != nil {
		t.Error("no arguments gave some")
	}
}
