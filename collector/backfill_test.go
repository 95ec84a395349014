package collector

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"sallyport/collector/store"
	"sallyport/rules"
)

// TestDeadExporterIsBackfilled keeps an exporter dead until the stream, which is
// small, has been trimmed past it.
func TestDeadExporterIsBackfilled(t *testing.T) {
	const total = 80
	cfg, path := withFile(t, testConfig(t))
	cfg.Stream.MaxBytes = 1 << 20
	s := startSite(t, cfg)
	if err := os.Mkdir(path, 0o700); err != nil { // a folder where the exporter wants its file
		t.Fatal(err)
	}
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	packets := bytes.Repeat([]byte("packet"), 4<<10)
	for i := range uint64(total) {
		f := a.finding(fmt.Sprintf("f%d", i), 1)
		f.Evidence.PCAPNG = packets
		eventually(t, "a finding taken", func() bool {
			status, body, err := a.send([]rules.Envelope{a.envelope("e", i+1, f)})
			if err != nil || status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Fatalf("%d %s %v", status, body, err)
			}
			return status == http.StatusOK
		})
	}
	var parked []store.Parked
	s.admin(t, "GET", "/parked?exporter=file", nil, &parked)
	if len(parked) == 0 || parked[0].Reason != store.ReasonMissed {
		t.Fatalf("the stream was not trimmed past the exporter: %d parked", len(parked))
	}
	t.Logf("%d of %d findings are to come from the store", len(parked), total)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for end := time.Now().Add(2 * time.Minute); len(ids) < total; time.Sleep(200 * time.Millisecond) {
		for _, id := range exported(t, path) {
			ids[id] = true
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d findings arrived", len(ids), total)
		}
	}
	eventually(t, "nothing parked any more", func() bool {
		parked = nil
		s.admin(t, "GET", "/parked?exporter=file", nil, &parked)
		return len(parked) == 0
	})
}
