package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport/collector/identity"
	"sallyport/rules"
)

var testLimits = limits{line: 4096, lines: 5, bytes: 16 << 10, finding: 3000}

func validFinding(agent, id string) rules.Finding {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return rules.Finding{
		Version: 1, ID: id, Revision: 1, State: rules.StateOpened, Agent: rules.AgentInfo{Name: agent}, Rule: rules.RuleRef{ID: "r"}, Title: "t",
		Severity: rules.SeverityLow, Confidence: "low", First: at, Last: at, Created: at, Count: 1,
		Observation: rules.Observation{Host: "h", Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData},
	}
}

func line(agent string, seq uint64, f rules.Finding) string {
	finding, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	text, err := json.Marshal(rules.Envelope{Agent: agent, Seq: seq, Epoch: "e", ID: f.MessageID(), Finding: finding})
	if err != nil {
		panic(err)
	}
	return string(text) + "\n"
}

func TestReadBatch(t *testing.T) {
	good := line("a", 1, validFinding("a", "f"))
	long := validFinding("a", "f")
	long.Title = strings.Repeat("x", 3500)
	longer := long
	longer.Title = strings.Repeat("x", 9000)
	bad := validFinding("a", "f")
	bad.Revision = 0
	newer := validFinding("a", "f")
	newer.Version, newer.State = rules.NewestFinding, "reopened"
	tooNew := validFinding("a", "f")
	tooNew.Version = rules.NewestFinding + 1
	tests := []struct {
		name, body string
		accepted   int
		rejected   string // reasons
		code       string // of a refusal of the request
	}{
		{"good", good, 1, "", ""},
		{"two", good + line("a", 2, validFinding("a", "g")), 2, "", ""},
		{"no newline at the end", strings.TrimSuffix(good, "\n"), 1, "", ""},
		{"empty lines", "\n\n" + good + "\n", 1, "", ""},
		{"nothing", "", 0, "", ""},
		{"invalid finding", good + line("a", 2, bad), 1, "revision", ""},
		{"of an agent one version newer", line("a", 1, newer), 1, "", ""},
		{"of an agent two versions newer", line("a", 1, tooNew), 0, "update it first", ""},
		{"finding of another", line("a", 1, validFinding("b", "f")), 0, "finding is of agent", ""},
		{"finding too long for the stream", line("a", 1, long), 0, "larger than", ""},
		{"line too long, number first", line("a", 1, longer) + good, 1, "larger than", ""},
		{"line too long, no number", strings.Repeat("y", 5000) + "\n", 0, "", rules.CodeTooLarge},
		{"envelope of another", line("b", 1, validFinding("b", "f")), 0, "", rules.CodeOtherAgent},
		{"id is not the finding's", strings.Replace(good, `"id":"f.1"`, `"id":"g.1"`, 1), 0, "envelope id", ""},
		{"no number", strings.Replace(good, `"seq":1`, `"seq":0`, 1), 0, "", rules.CodeBadRequest},
		{"no epoch", strings.Replace(good, `"epoch":"e"`, `"epoch":""`, 1), 0, "", rules.CodeBadRequest},
		{"not JSON", good + "{\n", 0, "", rules.CodeBadRequest},
		{"too many lines", strings.Repeat(good, 6), 0, "", rules.CodeTooLarge},
		{"too many bytes", strings.Repeat("\n", 17<<10), 0, "", rules.CodeTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := readBatch(strings.NewReader(tt.body), "a", time.Now(), testLimits)
			var refusal identity.Refusal
			if errors.As(err, &refusal); refusal.Code != tt.code || (err != nil) != (tt.code != "") {
				t.Fatalf("error %v, want code %q", err, tt.code)
			}
			if b.receipt.Accepted != tt.accepted {
				t.Errorf("%d accepted, want %d", b.receipt.Accepted, tt.accepted)
			}
			reasons := fmt.Sprint(b.receipt.Rejected)
			if (tt.rejected == "") != (len(b.receipt.Rejected) == 0) || !strings.Contains(reasons, tt.rejected) {
				t.Errorf("rejected %s, want %q", reasons, tt.rejected)
			}
			if len(b.entries) != b.receipt.Accepted+len(b.receipt.Rejected) {
				t.Errorf("%d entries", len(b.entries))
			}
		})
	}
}

func FuzzReadBatch(f *testing.F) {
	good := line("a", 1, validFinding("a", "f"))
	for _, seed := range []string{good, good + good, "{}", "{\"seq\":1}\n", strings.Repeat(good, 9), "\n", good[:50]} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := readBatch(strings.NewReader(string(body)), "a", time.Now(), testLimits)
		if err != nil {
			return
		}
		for _, e := range b.entries {
			if e.Agent != "a" || e.Seq == 0 || e.Epoch == "" {
				t.Errorf("entry %+v", e)
			}
			if (e.Rejected == "") != (len(e.Finding) > 0 && e.ID != "") {
				t.Errorf("entry is neither taken nor rejected: %+v", e)
			}
			if int64(len(e.Finding)) > testLimits.finding {
				t.Errorf("finding of %d bytes", len(e.Finding))
			}
		}
	})
}
