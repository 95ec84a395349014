package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

func TestBackfillFromStore(t *testing.T) {
	f := &fake{answers: []error{errors.New("down"), &Refused{[]RefusedItem{{1, "too odd"}}}}}
	r, e, s := runner(t, f, Filter{Severity: rules.SeverityMedium})
	r.exporters = []*running{e}
	at := time.Now().Add(-24 * time.Hour)
	save := func(id string, revision uint64, severity rules.Severity, received time.Time) {
		t.Helper()
		finding, err := json.Marshal(rules.Finding{ID: id, Revision: revision, Severity: severity, Evidence: &rules.Evidence{PCAPNG: []byte("packets")}})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Save(t.Context(), []stream.Entry{{Agent: "a", Epoch: "e", Seq: 1, ID: fmt.Sprint(id, ".", revision), Received: received, Finding: finding}})
		if err != nil {
			t.Fatal(err)
		}
	}
	save("early", 1, rules.SeverityHigh, at.Add(-time.Hour))
	save("one", 1, rules.SeverityHigh, at)
	save("low", 1, rules.SeverityLow, at)
	save("odd", 1, rules.SeverityHigh, at.Add(time.Minute))
	save("two", 1, rules.SeverityHigh, at.Add(2*time.Minute))
	save("late", 1, rules.SeverityHigh, at.Add(time.Hour))
	missed := stream.Missed{Consumer: consumer("x"), From: at, To: at.Add(2 * time.Minute)}
	for range 2 { // two collectors may trim at once
		if err := r.Missed(t.Context(), missed); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Missed(t.Context(), stream.Missed{Consumer: consumer("gone"), From: at, To: time.Now()}); err != nil {
		t.Fatal(err)
	}
	save("odd", 2, rules.SeverityHigh, at.Add(2*time.Hour)) // a revision that it is sent in instead

	if _, err := r.resendBatch(t.Context(), e); err == nil {
		t.Fatal("a receiver that is down")
	}
	if n, err := r.resendBatch(t.Context(), e); err != nil || n != 4-1 { // "low" went with the first attempt
		t.Fatalf("%d, %v", n, err)
	}
	slices.Sort(f.sent)
	if got := strings.Join(f.sent, " "); got != "one.1 two.1" {
		t.Errorf("sent %s", got)
	}
	parked, err := s.Parked(t.Context(), "x", 10)
	if err != nil || len(parked) != 1 || parked[0].ID != "odd" || parked[0].Revision != 2 || parked[0].Reason != "too odd" {
		t.Fatalf("parked %+v, %v", parked, err)
	}
	if n, err := s.Resend(t.Context(), "x"); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := r.resendBatch(t.Context(), e); err != nil || f.sent[len(f.sent)-1] != "odd.2" {
		t.Errorf("sent %v, %v", f.sent, err)
	}
	testGone(t, r, e, s, f)
}

// testGone: what retention removed in the meantime is sent no more.
func testGone(t *testing.T, r *Runner, e *running, s *store.Store, f *fake) {
	t.Helper()
	if _, err := s.Backfill(t.Context(), "x", time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Retain(t.Context(), time.Now().Add(100*365*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	before := len(f.sent)
	if _, err := r.resendBatch(t.Context(), e); err != nil || len(f.sent) != before {
		t.Errorf("%d sent, %v", len(f.sent)-before, err)
	}
	if parked, err := s.Parked(t.Context(), "x", 10); err != nil || len(parked) != 0 {
		t.Errorf("parked %+v, %v", parked, err)
	}
}
