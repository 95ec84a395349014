package feed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const mispSample = `{"Event": {"uuid": "11111111-2222-3333-4444-555555555555", "info": "Example", "date": "2024-05-06", "Orgc": {"name": "Lab"},
"Tag": [{"name": "tlp:white"}],
"Galaxy": [{"type": "threat-actor", "GalaxyCluster": [{"value": "Example Typhoon"}]}],
"Attribute": [
{"uuid": "a0000000-0000-0000-0000-000000000001", "type": "ip-dst", "to_ids": true, "value": "192.0.2.1", "first_seen": "2024-01-02T03:04:05+00:00", "comment": "c2", "Tag": [{"name": "tlp:amber"}]},
{"uuid": "a0000000-0000-0000-0000-000000000002", "type": "ip-dst|port", "to_ids": "1", "value": "192.0.2.2|443"},
{"uuid": "a0000000-0000-0000-0000-000000000003", "type": "domain|ip", "to_ids": true, "value": "a.example|192.0.2.3"},
{"uuid": "a0000000-0000-0000-0000-000000000004", "type": "ip-src", "to_ids": false, "value": "192.0.2.4"},
{"uuid": "a0000000-0000-0000-0000-000000000005", "type": "ip-src", "to_ids": true, "deleted": true, "value": "192.0.2.5"},
{"uuid": "a0000000-0000-0000-0000-000000000006", "type": "filename", "to_ids": true, "value": "x.exe"},
{"uuid": "a0000000-0000-0000-0000-000000000007", "type": "hostname", "to_ids": true, "value": "www.a.example",
 "Tag": [{"name": "misp-galaxy:threat-actor=\"Other Panda\""}]},
{"uuid": "a0000000-0000-0000-0000-000000000008", "type": "AS", "to_ids": true, "value": "64496"},
{"uuid": "a0000000-0000-0000-0000-000000000009", "type": "ip-dst|port", "to_ids": true, "value": "192.0.2.9"}],
"Object": [{"name": "x509", "Attribute": [{"type": "x509-fingerprint-sha1", "to_ids": true, "value": "` + sha1 + `"}]},
{"name": "gone", "deleted": true, "Attribute": [{"type": "ip-dst", "to_ids": true, "value": "192.0.2.8"}]}]}}`

func TestMISPEvent(t *testing.T) {
	want := []string{
		"ip 192.0.2.1 Example Typhoon", "ip 192.0.2.2:443 Example Typhoon", "domain a.example Example Typhoon", "ip 192.0.2.3 Example Typhoon",
		"url_host www.a.example Other Panda", "tls_cert_sha1 " + sha1 + " Example Typhoon",
	}
	for name, text := range map[string]string{"event": mispSample, "response": `{"response": [` + mispSample + `]}`, "list": "[" + mispSample + "]"} {
		t.Run(name, func(t *testing.T) {
			res := mustImport(t, testRequest(t, "misp", "event.json", text))
			if d := cmp.Diff(brief(res.Entities), want); d != "" {
				t.Fatalf("indicators (-got +want):\n%s", d)
			}
			checkRejections(t, &res.Report, []string{
				"8 to_ids is not set", "9 deleted", "10 type \"filename\"", "13 an autonomous system", "14 ",
			})
			in := res.Entities[0].Indicators[0]
			if in.TLP != "amber" || res.Entities[0].Indicators[1].TLP != "clear" || in.Sources[0].FirstSeen != "2024-01-02" || in.Note != "c2" {
				t.Errorf("details %+v", in)
			}
		})
	}
}

func TestMISPFeedFolder(t *testing.T) {
	dir := t.TempDir()
	const uuid = "11111111-2222-3333-4444-555555555555"
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("manifest.json", `{"`+uuid+`": {"timestamp": "1700000000"}, "../../etc/passwd": {"timestamp": "1800000000"}}`)
	write(uuid+".json", mispSample)
	req := testRequest(t, "misp", "unused", "")
	req.From = filepath.Join(dir, "manifest.json")
	res := mustImport(t, req)
	if n := len(brief(res.Entities)); n != 6 || res.State.Since != 1700000000 || res.Partial {
		t.Fatalf("%d indicators, state %+v", n, res.State)
	}
	if res.Report.Rejections[0].Reason != "a manifest entry without a uuid or timestamp" {
		t.Errorf("rejections %+v", res.Report.Rejections)
	}
	req.State = res.State
	if res = mustImport(t, req); len(brief(res.Entities)) != 0 || !res.Partial {
		t.Errorf("a second import found %d again", len(brief(res.Entities)))
	}
}

// TestMISPFeedFromTheFuture: one event with a slip in its date does not silence
// those that follow.
func TestMISPFeedFromTheFuture(t *testing.T) {
	dir := t.TempDir()
	const wrong, later = "11111111-2222-3333-4444-555555555555", "11111111-2222-3333-4444-666666666666"
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(wrong+".json", mispSample)
	write(later+".json", strings.ReplaceAll(mispSample, "192.0.2.", "198.51.100."))
	write("manifest.json", `{"`+wrong+`": {"timestamp": "99999999999"}}`)
	req := testRequest(t, "misp", "unused", "")
	req.From = filepath.Join(dir, "manifest.json")
	res := mustImport(t, req)
	if at := time.Unix(res.State.Since, 0); len(brief(res.Entities)) != 6 || at.After(testNow().Add(skew)) {
		t.Fatalf("%d indicators, position %s", len(brief(res.Entities)), at)
	}
	if r := res.Report.Rejections[0]; r.Value != wrong || !strings.Contains(r.Reason, "in the future") {
		t.Errorf("rejections %+v", res.Report.Rejections)
	}
	req.State, req.Now = res.State, func() time.Time { return testNow().AddDate(0, 0, 2) }
	write("manifest.json", fmt.Sprintf(`{"`+wrong+`": {"timestamp": "99999999999"}, "`+later+`": {"timestamp": "%d"}}`, testNow().AddDate(0, 0, 1).Unix()))
	if got := strings.Join(brief(mustImport(t, req).Entities), " "); !strings.Contains(got, "198.51.100.1") {
		t.Errorf("the event of the next day was not read: %s", got)
	}
}
