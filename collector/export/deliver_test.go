package export

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func numbered(t *testing.T, n int) []Item {
	t.Helper()
	var list []Item
	for i := range n {
		f := aboutAgent()
		f.ID = fmt.Sprintf("id-%d", i)
		list = append(list, itemOf(t, f))
	}
	return list
}

// TestARefusedBatchIsHalvedToWhatIsRefused parks what the receiver refuses, and
// delivers the rest.
func TestARefusedBatchIsHalvedToWhatIsRefused(t *testing.T) {
	bad := map[string]bool{"id-3": true, "id-9": true}
	taken := map[string]bool{}
	err := deliver(t.Context(), jsonFormat{}, numbered(t, 10), 1<<20, func(_ context.Context, lines []line) ([]RefusedItem, error) {
		for _, l := range lines {
			if bad[l.item.Finding.ID] {
				return nil, &permanent{"no"}
			}
		}
		for _, l := range lines {
			taken[l.item.Finding.ID] = true
		}
		return nil, nil
	})
	var refused *Refused
	if !errors.As(err, &refused) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff([]RefusedItem{{3, "no"}, {9, "no"}}, refused.Items); diff != "" {
		t.Error(diff)
	}
	if len(taken) != 8 {
		t.Errorf("%d of 8 arrived", len(taken))
	}
}

func TestAnErrorThatMayPassIsNoRefusal(t *testing.T) {
	busy := errors.New("busy")
	calls := 0
	err := deliver(t.Context(), jsonFormat{}, numbered(t, 10), 1<<20, func(context.Context, []line) ([]RefusedItem, error) {
		calls++
		return nil, busy
	})
	var refused *Refused
	if !errors.Is(err, busy) || errors.As(err, &refused) || calls != 1 {
		t.Errorf("error %v after %d calls", err, calls)
	}
}

func TestRequestsStaySmall(t *testing.T) {
	items := numbered(t, 10)
	size := len(items[0].Raw)
	var parts []int
	err := deliver(t.Context(), jsonFormat{}, items, 3*size, func(_ context.Context, lines []line) ([]RefusedItem, error) {
		parts = append(parts, len(lines))
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{3, 3, 3, 1}, parts); diff != "" {
		t.Error(diff)
	}
	if got := split(nil, 10); got != nil {
		t.Errorf("nothing is split into %v", got)
	}
}

// TestBrokenDocumentIsParked is of a document that a format cannot write.
func TestBrokenDocumentIsParked(t *testing.T) {
	items := numbered(t, 2)
	items[0].Raw = []byte("{")
	sent := 0
	err := deliver(t.Context(), jsonFormat{}, items, 1<<20, func(_ context.Context, lines []line) ([]RefusedItem, error) {
		sent += len(lines)
		return nil, nil
	})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 0 || sent != 1 {
		t.Errorf("error %v, %d sent", err, sent)
	}
}

func TestAnswersSayPermanentOrNot(t *testing.T) {
	for status, want := range map[int]string{
		200: "ok", 204: "ok", 400: "permanent", 413: "permanent", 422: "permanent",
		302: "again", 401: "again", 403: "again", 404: "again", 408: "again", 409: "again", 429: "again", 500: "again", 502: "again", 503: "again",
	} {
		err := answer{status: status}.outcome(t.Context())
		var p *permanent
		got := "again"
		if err == nil {
			got = "ok"
		} else if errors.As(err, &p) {
			got = "permanent"
		}
		if got != want {
			t.Errorf("%d is %s, want %s", status, got, want)
		}
	}
}

// TestRetryAfterIsKept waits as long as asked, and no longer than the attempt.
func TestRetryAfterIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := answer{status: 429, header: http.Header{"Retry-After": {"30"}}}
		began := time.Now()
		if busy.outcome(t.Context()) == nil || time.Since(began) != 30*time.Second {
			t.Errorf("waited %s", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began = time.Now()
		if busy.outcome(ctx) == nil || time.Since(began) != 5*time.Second {
			t.Errorf("waited %s", time.Since(began))
		}
	})
}
