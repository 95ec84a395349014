package collector

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport/collector/identity"
	"sallyport/collector/store/postgrestest"
	"sallyport/rules"
)

// twoSites are collectors that share identity and store.
func twoSites(t *testing.T) (*site, *site) {
	t.Helper()
	one := testConfig(t)
	one.Store.Postgres, one.Identity.Folder = postgrestest.Start(t), filepath.Join(t.TempDir(), "ca")
	two := testConfig(t)
	two.Store.Postgres, two.Identity = one.Store.Postgres, one.Identity
	first, second := startSite(t, one), &site{cfg: two}
	second.start(t)
	return first, second
}

// TestRevocationOnEveryCollector revokes on one collector an agent that has
// connections to both, with a request under way on each: they are cut, and what the
// agent asks then is refused. The bound of 5 s holds where the machine lets it: of
// three agents one must be cut in time.
func TestRevocationOnEveryCollector(t *testing.T) {
	one, two := twoSites(t)
	inTime := false
	for _, name := range []string{"web-1", "web-2", "web-3"} {
		a := newAgent(t, one.at.Agents.String(), one.token(t), name)
		b := &agent{name: name, url: "https://" + two.at.Agents.String(), key: a.key, cert: a.cert, ca: a.ca}
		b.connect()
		cut := make(chan error, 2)
		for _, x := range []*agent{a, b} {
			x.mustSend(t, x.envelope("e"+x.url[len(x.url)-4:], 1, x.finding("f1", 1)))
			x.hang(cut)
		}
		one.admin(t, "DELETE", "/agents/"+name, nil, nil)
		revoked := time.Now()
		for range 2 {
			select {
			case err := <-cut:
				if err == nil {
					t.Error("a request under way was answered after the revocation")
				}
			case <-time.After(patience):
				t.Fatal("a connection of a revoked agent was not cut")
			}
		}
		took := time.Since(revoked)
		t.Logf("%s: both connections cut after %s", name, took.Round(time.Millisecond))
		inTime = inTime || took < 5*time.Second
		for _, x := range []*agent{a, b} {
			eventually(t, "the agent told that it is revoked", func() bool {
				status, body, err := x.send([]rules.Envelope{x.envelope("e", 2, x.finding("f2", 1))})
				return err == nil && status == http.StatusForbidden && strings.Contains(string(body), rules.CodeRevoked)
			})
		}
	}
	if !inTime {
		t.Error("no revocation cut within 5 s")
	}
}

// hang begins a request over the agent's open connection that does not end, and
// says when it does.
func (a *agent) hang(ended chan<- error) {
	body, never := io.Pipe()
	go func() {
		defer never.Close()
		res, err := a.client.Post(a.url+rules.PathFindings, "application/x-ndjson", body)
		if err == nil {
			res.Body.Close()
		}
		ended <- err
	}()
}

// TestCARotationOnEveryCollector has a new CA take over on one collector while an
// agent speaks to both.
func TestCARotationOnEveryCollector(t *testing.T) {
	one, two := twoSites(t)
	early := one.token(t)
	a := newAgent(t, one.at.Agents.String(), early, "web-1")
	seq := uint64(0)
	send := func(s *site) {
		t.Helper()
		seq++
		a.url = "https://" + s.at.Agents.String()
		a.mustSend(t, a.envelope("e", seq, a.finding("f", seq)))
	}
	renew := func(s *site) rules.EnrolResponse {
		t.Helper()
		a.url = "https://" + s.at.Agents.String()
		var res rules.EnrolResponse
		if status := a.post(t, rules.PathRenew, rules.RenewRequest{CSR: a.request(t)}, &res); status != http.StatusOK {
			t.Fatalf("renew: %d", status)
		}
		return res
	}
	ca := func(s *site, method, path string) (state identity.AuthorityState) {
		t.Helper()
		s.admin(t, method, path, nil, &state)
		return state
	}
	before, state := ca(one, "GET", "/ca"), ca(one, "POST", "/ca/rotate")
	if state.Before != before.SHA256 || len(state.Pending) != 1 {
		t.Fatalf("rotated: %+v", state)
	}
	send(one) // knows the old CA alone
	eventually(t, "the rotation on the other collector", func() bool { return ca(two, "GET", "/ca").SHA256 == state.SHA256 })
	a.connect() // a new handshake, with the old CA alone
	send(two)

	eventually(t, "the agent with a certificate of the new CA", func() bool {
		a.use(t, renew(two))
		return len(ca(one, "GET", "/ca").Pending) == 0
	})
	send(one)
	send(two)
	late := newAgent(t, two.at.Agents.String(), early, "web-2") // with a token of before
	if state := ca(one, "POST", "/ca/retire"); state.Before != "" {
		t.Fatalf("retired: %+v", state)
	}
	eventually(t, "the retirement on the other collector", func() bool { return ca(two, "GET", "/ca").Before == "" })
	a.use(t, renew(two)) // which gives the new CA alone
	send(one)
	send(two)
	late.mustSend(t, late.envelope("e", 1, late.finding("f", 1)))
	if n := strings.Count(renew(one).CA, "BEGIN CERTIFICATE"); n != 1 {
		t.Errorf("agents are given %d CAs after the retirement", n)
	}
}
