package collector

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestLimitsAreEachTheirOwn reaches each limit in turn, and has another served
// meanwhile.
func TestLimitsAreEachTheirOwn(t *testing.T) {
	cfg := testConfig(t)
	cfg.API.RequestsPerSecond, cfg.API.RefusedPerMinute = 0.2, 3
	cfg.Account.RequestsPerSecond = 0.5
	s := startSite(t, cfg)
	client := insecureClient()
	busy, other := s.apiToken(t, "busy", "viewer", false), s.apiToken(t, "other", "viewer", false)
	until := func(what string, ask func() (int, http.Header)) {
		t.Helper()
		for range 50 {
			if status, header := ask(); status == http.StatusTooManyRequests {
				if header.Get("Retry-After") == "" {
					t.Errorf("%s: no Retry-After", what)
				}
				return
			}
		}
		t.Errorf("%s: never refused", what)
	}
	until("a token", func() (int, http.Header) {
		status, header, _ := s.ask(t, client, busy, "GET", "/limits")
		return status, header
	})
	status, _, body := s.ask(t, client, other, "GET", "/limits")
	if status != http.StatusOK || !strings.Contains(string(body), `"name":"api.requests_per_second","value":"0.2 a second"`) {
		t.Errorf("another token: %d %s", status, body)
	}

	home := "https://" + s.at.People.String()
	cookie := signInFor(t, client, home, "admin", s.password)
	until("a person", func() (int, http.Header) {
		req, err := http.NewRequest("GET", home+"/password", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.AddCookie(cookie)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode, res.Header
	})
	if status, _, _ := s.ask(t, client, other, "GET", "/limits"); status != http.StatusOK {
		t.Errorf("a token waits for a person: %d", status)
	}
	until("an address without a token", func() (int, http.Header) {
		status, header, _ := s.ask(t, client, "guess", "GET", "/limits")
		return status, header
	})
}

// TestAgentIsLimited has one agent of two ask too often.
func TestAgentIsLimited(t *testing.T) {
	cfg := testConfig(t)
	cfg.Identity.RequestsPerSecond = 1
	s := startSite(t, cfg)
	one, two := newAgent(t, s.at.Agents.String(), s.token(t), "one"), newAgent(t, s.at.Agents.String(), s.token(t), "two")
	seq := uint64(0)
	eventually(t, "the agent told to wait", func() bool {
		seq++
		req, err := http.NewRequest(http.MethodPost, one.url+"/v1/heartbeat", strings.NewReader(fmt.Sprintf(`{"agent":"one","version":"%d"}`, seq)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := one.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != ""
	})
	two.mustSend(t, two.envelope("e", 1, two.finding("f1", 1)))
	eventually(t, "the agent served again", func() bool {
		status, _, err := one.send(nil)
		return err == nil && status == http.StatusOK
	})
}

// TestLimitsPage holds that a person sees what is in force.
func TestLimitsPage(t *testing.T) {
	cfg := testConfig(t)
	cfg.Ingest.RetryAfter = 7 * time.Second
	s := startSite(t, cfg)
	admin := s.signedIn(t)
	page := admin.get("/limits")
	for _, want := range []string{"<code>ingest.retry_after</code></td><td class=\"n\">7s</td>", "fixed: enrolment"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page does not say %q: %s", want, page.body)
		}
	}
}
