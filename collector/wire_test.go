package collector

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"sallyport/collector/fleet"
	"sallyport/collector/store"
	"sallyport/rules"
)

// with adds to a document what a newer agent would say, or takes away what an older
// one would not.
func with(t *testing.T, document any, add map[string]any, drop ...string) map[string]any {
	t.Helper()
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	for k, v := range add {
		out[k] = v
	}
	for _, k := range drop {
		if _, ok := out[k]; !ok {
			t.Fatalf("the document has no %q to leave out", k)
		}
		delete(out, k)
	}
	return out
}

// TestAgentsOfOtherVersions enrols, renews and reports as an agent of the version
// after this one, which says more, and of the one before, which says less.
func TestAgentsOfOtherVersions(t *testing.T) {
	s := startSite(t, testConfig(t))
	newer := map[string]any{"from_the_future": map[string]any{"a": []int{1, 2}}, "another": "text"}
	for _, tt := range []struct {
		name string
		add  map[string]any
		// what the version before did not have yet
		beat, finding []string
	}{
		{"newer", newer, nil, nil},
		{"older", nil, []string{"spool", "flows"}, []string{"why", "evidence"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAgent(t, s.at.Agents.String(), s.token(t), tt.name+"-0")
			a.name = tt.name
			fresh := &agent{name: tt.name, url: a.url, key: a.key}
			fresh.connect()
			var res rules.EnrolResponse
			enrol := with(t, rules.EnrolRequest{Token: s.token(t), CSR: fresh.request(t), Name: tt.name}, tt.add)
			if status := fresh.post(t, rules.PathEnrol, enrol, &res); status != http.StatusOK {
				t.Fatalf("enrol: %d", status)
			}
			fresh.use(t, res)
			if status := fresh.post(t, rules.PathRenew, with(t, rules.RenewRequest{CSR: fresh.request(t)}, tt.add), &res); status != http.StatusOK {
				t.Fatalf("renew: %d", status)
			}
			fresh.use(t, res)
			beat := with(t, rules.Heartbeat{Agent: tt.name, Version: tt.name, Hooks: map[string]string{"egress": "ok"}}, tt.add, tt.beat...)
			if status := fresh.post(t, rules.PathHeartbeat, beat, nil); status != http.StatusNoContent {
				t.Fatalf("heartbeat: %d", status)
			}
			f := fresh.finding("f-"+tt.name, 1)
			envelope := with(t, fresh.envelope("e", 1, f), tt.add)
			said := with(t, f, tt.add, tt.finding...)
			if tt.add != nil {
				said["version"] = rules.NewestFinding
			}
			envelope["finding"] = said
			line, err := json.Marshal(envelope)
			if err != nil {
				t.Fatal(err)
			}
			res2, err := fresh.client.Post(fresh.url+rules.PathFindings, "application/x-ndjson", bytes.NewReader(append(line, '\n')))
			if err != nil {
				t.Fatal(err)
			}
			defer res2.Body.Close()
			var receipt rules.Receipt
			if err := json.NewDecoder(res2.Body).Decode(&receipt); err != nil || res2.StatusCode != http.StatusOK || receipt.Accepted != 1 {
				t.Fatalf("finding: %s %+v, %v", res2.Status, receipt, err)
			}
			var page store.Page
			eventually(t, "the finding stored", func() bool {
				s.admin(t, "GET", "/findings?agent="+tt.name, nil, &page)
				return len(page.Findings) == 1 && page.Findings[0].Finding.ID == f.ID
			})
		})
	}
	var list []fleet.Agent
	s.admin(t, "GET", "/agents", nil, &list)
	heard := 0
	for _, a := range list {
		if a.Heartbeat != nil && a.Heartbeat.Version == a.Name {
			heard++
		}
	}
	if heard != 2 {
		t.Errorf("%d of 2 agents are known by their versions", heard)
	}
}

// TestTLS13Only asks both listeners with TLS 1.2.
func TestTLS13Only(t *testing.T) {
	s := startSite(t, testConfig(t))
	for name, at := range map[string]net.Addr{"agents": s.at.Agents, "people": s.at.People} {
		conn, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if err == nil {
			conn.Close()
			t.Errorf("%s: TLS 1.2 was taken", name)
		} else if !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%s: %v", name, err)
		}
		conn, err = tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil || conn.ConnectionState().Version != tls.VersionTLS13 {
			t.Fatalf("%s: %v", name, err)
		}
		conn.Close()
	}
}
