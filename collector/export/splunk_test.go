package export

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeHEC is a fake of Splunk's HTTP Event Collector: it holds requests to the
// documented protocol, and acknowledges at the second time of asking.
type fakeHEC struct {
	t     *testing.T
	mu    sync.Mutex
	acks  map[uint64]int // asked how often
	texts []string
	never bool   // acknowledge nothing
	bad   string // refuse a request that holds this, code 6
	code  int    // refuse everything with this code
	noAck bool
}

func (h *fakeHEC) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	say := func(status int, body string) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
	if r.Method != http.MethodPost || r.Header.Get("Authorization") != "Splunk 12345678-1234-1234-1234-123456789012" {
		say(403, `{"text":"Invalid token","code":4}`)
		return
	}
	if len(r.Header.Get("X-Splunk-Request-Channel")) != 36 {
		say(400, `{"text":"Data channel is missing","code":10}`)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Error(err)
	}
	switch r.URL.Path {
	case "/services/collector/event":
		h.event(say, body)
	case "/services/collector/ack":
		h.ack(say, body)
	default:
		say(404, `{"text":"not found","code":404}`)
	}
}

func (h *fakeHEC) event(say func(int, string), body []byte) {
	if h.code != 0 {
		say(400, `{"text":"refused","code":`+decimal(uint64(h.code))+`}`)
		return
	}
	if h.bad != "" && strings.Contains(string(body), h.bad) {
		say(400, `{"text":"Invalid data format","code":6,"invalid-event-number":0}`)
		return
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	for d.More() {
		var e struct {
			Time                            float64
			Host, Source, Sourcetype, Index string
			Event                           json.RawMessage
			Fields                          map[string]string
		}
		if err := d.Decode(&e); err != nil || len(e.Event) == 0 || e.Time != 1795804920.123 || e.Fields["finding_id"] == "" {
			h.t.Errorf("event %+v, error %v", e, err)
			say(400, `{"text":"Invalid data format","code":6}`)
			return
		}
		h.texts = append(h.texts, string(e.Event))
	}
	if h.noAck {
		say(200, `{"text":"Success","code":0}`)
		return
	}
	id := uint64(len(h.acks))
	h.acks[id] = 0
	say(200, `{"text":"Success","code":0,"ackId":`+decimal(id)+`}`)
}

func (h *fakeHEC) ack(say func(int, string), body []byte) {
	var asked struct{ Acks []uint64 }
	if err := json.Unmarshal(body, &asked); err != nil {
		h.t.Error(err)
	}
	answer := map[string]map[string]bool{"acks": {}}
	for _, id := range asked.Acks {
		h.acks[id]++
		answer["acks"][decimal(id)] = !h.never && h.acks[id] > 1
	}
	text, _ := json.Marshal(answer)
	say(200, string(text))
}

func startHEC(t *testing.T, more string) (*fakeHEC, Exporter) {
	t.Helper()
	h := &fakeHEC{t: t, acks: map[uint64]int{}}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	e := open(t, "splunk", "ocsf", "url: "+s.URL+"\nplaintext: true\nack_interval: 10ms\ntoken_file: "+secret(t, "12345678-1234-1234-1234-123456789012")+"\n"+more)
	return h, e
}

func TestSplunkWaitsForTheIndexer(t *testing.T) {
	h, e := startHEC(t, "index: main")
	if err := e.Export(t.Context(), items(t)); err != nil {
		t.Fatal(err)
	}
	if len(h.texts) != len(samples()) || h.acks[0] != 2 {
		t.Errorf("%d events, acknowledgement asked for %d times", len(h.texts), h.acks[0])
	}
	h.never = true
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := e.Export(ctx, items(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v without an acknowledgement", err)
	}
}

func TestSplunkParksOnlyWhatItRefuses(t *testing.T) {
	h, e := startHEC(t, "")
	h.bad = desktop().ID
	err := e.Export(t.Context(), items(t))
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 1 {
		t.Fatalf("error %v", err)
	}
	if len(h.texts) != len(samples())-1 {
		t.Errorf("%d events", len(h.texts))
	}
}

// TestSplunksOperatorMendsItsToken is of answers that speak of the token or the
// index: nothing is parked for them.
func TestSplunksOperatorMendsItsToken(t *testing.T) {
	for _, code := range []int{2, 3, 4, 7, 8, 9, 10, 11, 14} {
		h, e := startHEC(t, "")
		h.code = code
		err := e.Export(t.Context(), items(t))
		var refused *Refused
		if err == nil || errors.As(err, &refused) {
			t.Errorf("code %d: error %v", code, err)
		}
	}
	h, e := startHEC(t, "")
	h.noAck = true
	if err := e.Export(t.Context(), items(t)); err == nil || !strings.Contains(err.Error(), "acknowledge: false") {
		t.Errorf("error %v without ackId", err)
	}
	if _, e := startHEC(t, "acknowledge: false"); e.Export(t.Context(), items(t)) != nil {
		t.Error("refused without acknowledgement")
	}
}

func TestSplunkTakesTextFormats(t *testing.T) {
	h := &fakeHEC{t: t, acks: map[uint64]int{}, noAck: true}
	s := httptest.NewServer(h)
	defer s.Close()
	e := open(t, "splunk", "cef", "url: "+s.URL+"\nplaintext: true\nacknowledge: false\ntoken_file: "+secret(t, "12345678-1234-1234-1234-123456789012"))
	item := itemOf(t, desktop())
	if err := e.Export(t.Context(), []Item{item}); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal([]byte(h.texts[0]), &got); err != nil {
		t.Fatal(err)
	}
	want, _ := cefFormat{}.Append(nil, &item)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}
