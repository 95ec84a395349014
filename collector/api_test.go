package collector

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/collector/admin"
	"sallyport/collector/api"
	"sallyport/collector/store"
)

// insecureClient trusts any server, as a test may, and follows no redirect.
func insecureClient() *http.Client {
	return &http.Client{
		Timeout:       patience,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func signInFor(t *testing.T, client *http.Client, home, user, password string) *http.Cookie {
	t.Helper()
	res, err := client.PostForm(home+"/signin", url.Values{"user": {user}, "password": {password}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) != 1 {
		t.Fatalf("sign in: %s", res.Status)
	}
	return res.Cookies()[0]
}

func (s *site) apiToken(t *testing.T, name, role string, evidence bool) string {
	t.Helper()
	var made admin.Secret
	s.admin(t, "POST", "/api-tokens", admin.Principal{Name: name, Role: role, Evidence: evidence, Life: time.Hour}, &made)
	return made.Secret
}

// ask calls the API.
func (s *site) ask(t *testing.T, client *http.Client, token, method, path string) (int, http.Header, []byte) {
	t.Helper()
	var content io.Reader
	switch {
	case method == "POST" && path == "/reports":
		content = strings.NewReader(`{"entity":"example-entity","from":"2026-01-01","to":"2027-01-01"}`)
	case method == "POST": // a verdict
		content = strings.NewReader(`{"state":"closed","decision":"licensed","note":"licence 2026-1"}`)
	}
	req, err := http.NewRequest(method, "https://"+s.at.People.String()+api.Prefix+path, content)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, body
}

func TestAPIKeepsToItsDocumentAndRoles(t *testing.T) {
	cfg, _ := withFile(t, testConfig(t))
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	f := a.finding("f1", 1)
	a.mustSend(t, a.envelope("e", 1, f))
	eventually(t, "finding stored", func() bool { return s.counts(t).Findings == 1 })
	client := insecureClient()
	tokens := map[string]string{
		"nobody": "", "viewer": s.apiToken(t, "v", "viewer", false), "analyst": s.apiToken(t, "a", "analyst", false),
		"admin": s.apiToken(t, "d", "admin", false), "auditor": s.apiToken(t, "u", "auditor", false), "evidence": s.apiToken(t, "e", "viewer", true),
	}
	may := map[string]string{
		"GET /findings": "viewer analyst auditor admin evidence", "GET /findings/{agent}/{id}": "viewer analyst auditor admin evidence",
		"GET /findings/{agent}/{id}/revisions": "viewer analyst auditor admin evidence", "GET /findings/{agent}/{id}/evidence": "evidence auditor",
		"PUT /findings/{agent}/{id}/legal-hold": "analyst admin", "DELETE /findings/{agent}/{id}/legal-hold": "analyst admin",
		"GET /agents": "viewer analyst auditor admin evidence", "GET /exporters": "analyst auditor admin", "GET /parked": "analyst auditor admin", "GET /access-log": "auditor admin",
		"GET /findings/{agent}/{id}/triage": "viewer analyst auditor admin evidence", "POST /findings/{agent}/{id}/triage": "analyst admin",
		"GET /findings/stream": "viewer analyst auditor admin evidence",
		"GET /packs":           "viewer analyst auditor admin evidence", "GET /limits": "viewer analyst auditor admin evidence",
		"POST /reports": "auditor admin", "GET /reports": "auditor admin", "GET /reports/{report}": "auditor admin", "GET /reports/{report}/document": "auditor admin",
	}
	report := s.report(t, client, tokens["auditor"])
	status, _, body := s.ask(t, client, "", "GET", "/openapi.json")
	var document struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct{ Schema any }
			}
		}
	}
	if status != http.StatusOK || json.Unmarshal(body, &document) != nil || document.OpenAPI != "3.1.0" {
		t.Fatalf("document: %d %s", status, body)
	}
	schemas := compileSchemas(t, body)
	documented := 0
	for path, operations := range document.Paths {
		for method, operation := range operations {
			documented++
			name := strings.ToUpper(method) + " " + path
			allowed, ok := may[name]
			if !ok {
				t.Errorf("%s is documented and this test does not know who may", name)
			}
			real := strings.NewReplacer("{agent}", "web-1", "{id}", "f1", "{report}", report).Replace(path)
			for who, token := range tokens {
				if path == "/findings/stream" && strings.Contains(" "+allowed+" ", " "+who+" ") {
					continue // it has no end: TestFindingsAreStreamed
				}
				status, header, body := s.ask(t, client, token, strings.ToUpper(method), real)
				want := http.StatusForbidden
				switch {
				case who == "nobody":
					want = http.StatusUnauthorized
				case strings.Contains(" "+allowed+" ", " "+who+" "):
					for _, good := range []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent} {
						if _, documented := operation.Responses[fmt.Sprint(good)]; documented {
							want = good
						}
					}
				}
				if status != want {
					t.Errorf("%s as %s: %d, want %d: %s", name, who, status, want, body)
				}
				response, ok := operation.Responses[fmt.Sprint(status)]
				if !ok {
					t.Errorf("%s: status %d is not documented", name, status)
				}
				media, _, _ := strings.Cut(header.Get("Content-Type"), ";")
				if _, ok := response.Content[media]; !ok && len(response.Content) > 0 {
					t.Errorf("%s as %s: Content-Type %q, documented %v", name, who, media, response.Content)
				}
				checkSchema(t, name, schemas, response.Content, body)
			}
		}
	}
	if documented != len(may) {
		t.Errorf("%d operations documented, want %d", documented, len(may))
	}
	if _, _, packets := s.ask(t, client, tokens["evidence"], "GET", "/findings/web-1/f1/evidence"); !bytes.Equal(packets, f.Evidence.PCAPNG) {
		t.Errorf("evidence: %q", packets)
	}
	_, _, body = s.ask(t, client, tokens["admin"], "GET", "/access-log")
	if !strings.Contains(string(body), `"token:e"`) || !strings.Contains(string(body), "read evidence") {
		t.Errorf("the look at evidence is not in the access log: %s", body)
	}
}

func TestAPIPagesAndRefusals(t *testing.T) {
	s := startSite(t, testConfig(t))
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	const total = 25
	for i := range uint64(total) {
		f := a.finding(fmt.Sprintf("f%d", i), 1)
		f.Last = f.Last.Add(time.Duration(i%5) * time.Minute) // ties, too
		a.mustSend(t, a.envelope("e", i+1, f))
	}
	eventually(t, "findings stored", func() bool { return s.counts(t).Findings == total })
	client, token := insecureClient(), s.apiToken(t, "v", "viewer", false)
	seen := map[string]bool{}
	for path, pages := "/findings?limit=4", 0; path != ""; pages++ {
		if pages > total {
			t.Fatal("pages without end")
		}
		status, _, body := s.ask(t, client, token, "GET", path)
		var page store.Page
		if status != http.StatusOK || json.Unmarshal(body, &page) != nil {
			t.Fatalf("%d %s", status, body)
		}
		for _, f := range page.Findings {
			if seen[f.Finding.ID] {
				t.Errorf("%s is on two pages", f.Finding.ID)
			}
			seen[f.Finding.ID] = true
		}
		if path = ""; page.Next != "" {
			path = "/findings?limit=4&cursor=" + page.Next
		}
	}
	if len(seen) != total {
		t.Errorf("%d findings on all pages, want %d", len(seen), total)
	}
	for path, want := range map[string]int{
		"/findings?severity=terrible": 400, "/findings?sevrity=high": 400, "/findings?limit=0": 400, "/findings?cursor=x": 400, "/findings?remote=x": 400,
		"/findings?from=yesterday": 400, "/findings/web-1/none": 404, "/findings/web-1/none/evidence": 403, "/nothing": 404,
		"/findings?q=" + url.QueryEscape(`" OR 1 --`): 200, "/findings?q=" + url.QueryEscape(`*`): 200,
	} {
		if status, _, body := s.ask(t, client, token, "GET", path); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
	s.admin(t, "DELETE", "/api-tokens/v", nil, nil)
	if status, _, _ := s.ask(t, client, token, "GET", "/findings"); status != http.StatusUnauthorized {
		t.Errorf("a revoked token: %d", status)
	}
}
