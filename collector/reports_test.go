package collector

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sallyport/collector/record"
)

// signedIn is the first administrator with a password of her own.
func (s *site) signedIn(t *testing.T) *personAt {
	t.Helper()
	p := newPerson(t, "https://"+s.at.People.String())
	p.read(p.client.PostForm(p.home+"/signin", url.Values{"user": {"admin"}, "password": {s.password}}))
	chosen := "correct horse battery"
	p.post("/password", url.Values{"old": {s.password}, "new": {chosen}, "repeat": {chosen}})
	if page := p.get("/findings"); page.url.Path != "/findings" {
		t.Fatalf("not signed in: %s", page.url)
	}
	return p
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// post sends a form of the page at path, with its secret.
func (p *personAt) post(path string, form url.Values) page {
	p.t.Helper()
	csrf := csrfField.FindStringSubmatch(p.get(path).body)
	if csrf == nil {
		p.t.Fatalf("%s: no form", path)
	}
	form.Set("csrf", csrf[1])
	return p.read(p.client.PostForm(p.home+path, form))
}

// TestReportsByConsoleAndAPI makes a report of findings, of which one is a
// self-test's, at the console and by the API.
func TestReportsByConsoleAndAPI(t *testing.T) {
	s := startSite(t, testConfig(t))
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	self := a.finding("self-test", 1)
	self.Test, self.Matches[0].Entity.Test = true, true
	a.mustSend(t, a.envelope("e", 1, a.finding("f1", 1)), a.envelope("e", 2, a.finding("f2", 1)), a.envelope("e", 3, self))
	eventually(t, "findings stored", func() bool { return s.counts(t).Findings == 3 })
	st := s.openStore(t)
	eventually(t, "findings recorded", func() bool {
		n, err := st.RecordSize(t.Context())
		return err == nil && n >= 3
	})

	client, auditor := insecureClient(), s.apiToken(t, "u", "auditor", false)
	id := s.report(t, client, auditor)
	status, header, body := s.ask(t, client, auditor, "GET", "/reports/"+id+"/document")
	var r record.Report
	if status != http.StatusOK || json.Unmarshal(body, &r) != nil {
		t.Fatalf("document: %d %s", status, body)
	}
	if r.Totals.Contacts != 2 || r.Excluded.Test != 1 || r.Checkpoint == nil {
		t.Errorf("report: %+v, left out %+v, checkpoint %+v", r.Totals, r.Excluded, r.Checkpoint)
	}
	if got := header.Get("Content-Disposition"); got != `attachment; filename="record-example-entity-2026-01-01-2027-01-01.json"` {
		t.Errorf("file %s", got)
	}
	status, _, body = s.ask(t, client, auditor, "GET", "/reports/"+id+"/document?format=html")
	if status != http.StatusOK || !strings.Contains(string(body), "1 findings of self-tests (test: true)") {
		t.Errorf("HTML: %d, self-tests are not said to be left out", status)
	}
	for path, want := range map[string]int{"/reports/nonsense": 404, "/reports/" + id + "/document?format=pdf": 400} {
		if status, _, body := s.ask(t, client, auditor, "GET", path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}

	person := s.signedIn(t)
	if page := person.post("/record", url.Values{"entity": {"example-entity"}, "from": {"2026-01-01"}, "to": {"2025-01-01"}}); page.status != http.StatusBadRequest || !strings.Contains(page.body, "must lie before") {
		t.Errorf("an empty period: %d %s", page.status, page.body)
	}
	person.post("/record", url.Values{"entity": {"example-entity"}, "from": {"2026-02-01"}, "to": {"2026-05-01"}})
	var list string
	eventually(t, "the report done at the console", func() bool {
		list = person.get("/record").body
		return strings.Count(list, `class="state done"`) == 2
	})
	if !strings.Contains(list, `<td class="n">2</td><td class="n">1</td>`) {
		t.Errorf("the page does not say what was left out: %s", list)
	}
	link := regexp.MustCompile(`/record/[A-Za-z0-9_-]+/html`).FindString(list)
	if page := person.get(link); page.status != http.StatusOK || !strings.Contains(page.body, "example-entity") {
		t.Errorf("download: %d", page.status)
	}
	_, _, body = s.ask(t, client, auditor, "GET", "/access-log")
	for _, want := range []string{
		`"actor":"token:u","action":"asked for a report of the record","subject":"example-entity from 2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z"`,
		`"actor":"token:u","action":"read a report of the record"`,
		`"actor":"user:admin","action":"asked for a report of the record"`, `"actor":"user:admin","action":"read a report of the record"`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the access log lacks %s: %s", want, body)
		}
	}
}

// TestReportAtAnotherCollector asks a collector for a report that another made.
func TestReportAtAnotherCollector(t *testing.T) {
	one, two := twoSites(t)
	client, token := insecureClient(), one.apiToken(t, "u", "auditor", false)
	id := one.report(t, client, token)
	eventually(t, "the report is done at the other collector", func() bool {
		status, _, body := two.ask(t, client, token, "GET", "/reports/"+id)
		return status == http.StatusOK && strings.Contains(string(body), `"state":"done"`)
	})
}
