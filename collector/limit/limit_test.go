package limit

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func TestEachKeyForItself(t *testing.T) {
	k := NewKeyed(2, 3)
	now := time.Unix(1000, 0)
	for i := range 5 {
		if wait, ok := k.Take("a", now); ok != (i < 3) || ok != (wait == 0) {
			t.Errorf("request %d: %t, wait %s", i+1, ok, wait)
		}
	}
	if _, ok := k.Take("b", now); !ok {
		t.Error("another waits for the first")
	}
	wait, _ := k.Take("a", now)
	if wait <= 0 || wait > 500*time.Millisecond {
		t.Errorf("wait %s at two a second", wait)
	}
	if _, spent := k.Spent("a", now); !spent {
		t.Error("has nothing left, and it is not said")
	}
	if _, ok := k.Take("a", now.Add(wait)); !ok {
		t.Error("refused after the wait it was told")
	}
	if _, spent := k.Spent("nobody", now); spent {
		t.Error("who never asked has nothing left")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	k := NewKeyed(1, 2)
	now := time.Unix(1000, 0)
	for i := range maxKeys {
		k.Take(strconv.Itoa(i), now)
	}
	if _, ok := k.Take("one more", now); ok || len(k.byKey) > maxKeys {
		t.Errorf("taken, %d are remembered", len(k.byKey))
	}
	if _, ok := k.Take("one more", now.Add(time.Minute)); !ok || len(k.byKey) != 1 {
		t.Errorf("refused though all were idle; %d are remembered", len(k.byKey))
	}
}

func TestRetryAfterIsWholeSeconds(t *testing.T) {
	for wait, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60"} {
		h := http.Header{}
		if RetryAfter(h, wait); h.Get("Retry-After") != want {
			t.Errorf("%s: %q", wait, h.Get("Retry-After"))
		}
	}
}
