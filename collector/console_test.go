package collector

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sallyport/rules"
)

// sample is a finding with everything a page shows.
func sample(a *agent, id string) rules.Finding {
	f := a.finding(id, 1)
	f.Why = []string{"data went both ways with an attributed remote", "the protocol is remote access", "the indicator is current and of high confidence"}
	f.Rule.Tags = []string{"attack.t1021.001", "attack.t1219"}
	m := &f.Matches[0]
	m.Indicator.Sources = []rules.SourceRef{{Name: "Example advisory", Date: "2025-01-03", Reference: "https://example.org/advisory"}}
	m.Indicator.FirstSeen, m.Indicator.LastSeen, m.Indicator.Role, m.Indicator.Confidence, m.Indicator.Age = "2024-06-01", "2025-12-31", "c2", "high", "current"
	m.Statement = "a remote attributed to Example Entity, reported by Example advisory as used until 2025-12-31"
	m.Designations = []rules.DesignationRef{{Authority: "OFAC", List: "SDN", Programme: "CYBER2", LegalBasis: "E.O. 13694", Designated: "2025-01-03", ListID: "12345"}}
	o := &f.Observation
	o.BytesOut, o.BytesIn, o.PacketsOut, o.PacketsIn = 18233, 1_250_331, 210, 940
	o.Names = []rules.Name{{Name: "gw.example.net", Source: "dns"}}
	o.Geo = &rules.Geo{Country: "NL", City: "Amsterdam", ASN: 64500, Organisation: "Example Networks"}
	o.Owner.Process.Args = []string{"xfreerdp", "/v:gw.example.net"}
	o.Owner.Parents = []rules.Process{{PID: 4, Executable: "/usr/bin/bash"}}
	o.Owner.Container = &rules.Container{ID: "0123456789abcdef0123", Runtime: "containerd", Pod: "jump-7", Namespace: "ops", Workload: "jump", Image: "registry.example/jump:1"}
	f.Loss = &rules.Loss{Lost: map[string]uint64{"ring_full": 12}}
	return f
}

func TestConsoleInABrowser(t *testing.T) {
	cfg, _ := withFile(t, testConfig(t))
	s := startSite(t, cfg)
	b := newBrowser(t)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1.example")
	seq := uint64(0)
	send := func(f rules.Finding) {
		seq++
		a.mustSend(t, a.envelope("9f86d081", seq, f))
	}
	for i, severity := range []rules.Severity{rules.SeverityLow, rules.SeverityMedium, rules.SeverityCritical, rules.SeverityHigh} {
		f := sample(a, fmt.Sprintf("5f0c6a1e%d", i))
		f.Severity = severity
		f.Last = f.Last.Add(time.Duration(i) * time.Hour)
		send(f)
	}
	hostile := sample(a, "hostile")
	hostile.Title = `<script>document.title="owned"</script><img src=x onerror=document.title="owned">`
	hostile.Observation.Names = []rules.Name{{Name: `"><script>document.title="owned"</script>`, Source: "sni"}}
	hostile.Test, hostile.Matches[0].Entity.Test = true, true
	hostile.Observation.Remote = rules.Endpoint{Addr: netip.MustParseAddr("2001:db8::9"), Port: 443}
	send(hostile)
	seq++ // a number that never comes
	send(sample(a, "after-the-gap"))
	a.post(t, rules.PathHeartbeat, rules.Heartbeat{
		Agent: a.name, Version: "0.1.0", Kernel: "6.18.0", Packs: []string{"integrity-technology-group 2026.1"}, Started: time.Now().Add(-time.Hour), At: time.Now(),
		Degraded: []string{"no cgroup v2: the owner of short connections may be unknown"}, Lost: map[string]uint64{"ring_full": 12}, Dropped: map[string]uint64{"flow_table_full": 3},
		Hooks: map[string]string{"cgroup_skb/egress": "ok", "tp_btf/tcp_destroy_sock": "not attached: close records come late"}, Flows: 88123, Config: "state_dir: /var/lib/sallyport\n",
	}, nil)
	eventually(t, "findings stored", func() bool { return s.counts(t).Findings == 6 })

	home := "https://" + s.at.People.String()
	b.open(home + "/")
	b.waitFor("location.pathname === '/signin'")
	b.shot("signin")
	b.submit("main form", map[string]string{"user": "admin", "password": "wrong"})
	b.waitFor("document.body.innerText.includes('password is wrong')")
	b.submit("main form", map[string]string{"user": "admin", "password": s.password})
	b.waitFor("location.pathname === '/password'")
	b.open(home + "/findings")
	b.waitFor("location.pathname === '/password'") // nothing else until it is changed
	b.shot("password")
	chosen := "correct horse battery"
	b.submit("main form", map[string]string{"old": s.password, "new": chosen, "repeat": chosen + "x"})
	b.waitFor("document.body.innerText.includes('differ')")
	b.submit("main form", map[string]string{"old": s.password, "new": chosen, "repeat": chosen})
	b.waitFor("location.pathname === '/findings' && document.querySelectorAll('tbody tr').length === 6")
	b.shot("findings")

	b.submit(".filters", map[string]string{"severity": "high", "test": "false"})
	b.waitFor("location.search.includes('severity=high') && document.querySelectorAll('tbody tr').length === 3")
	b.open(home + "/findings?q=jump-7+critical-nothing")
	b.waitFor("document.body.innerText.includes('No finding')")
	b.open(home + "/findings?remote=nonsense")
	b.open(home + "/findings?severity=terrible")
	b.waitFor("document.body.innerText.includes('is unknown')")

	b.open(home + "/findings/web-1.example/5f0c6a1e2")
	b.waitFor("document.body.innerText.includes('in pod ops/jump-7') && document.body.innerText.includes('E.O. 13694')")
	b.shot("finding")
	b.eval("document.querySelector('form[action$=hold] button').click()")
	b.waitFor("document.readyState === 'complete' && document.body.innerText.includes('End legal hold')") // the form is below it
	b.submit("form[action$=triage]", map[string]string{"state": "closed"})
	b.waitFor("document.body.innerText.includes('needs a decision')")
	b.open(home + "/findings/web-1.example/5f0c6a1e2")
	b.waitFor("document.body.innerText.includes('Nobody has said anything yet')")
	b.submit("form[action$=triage]", map[string]string{"state": "closed", "decision": "licensed", "assignee": "maria", "note": "licence 2026-1"})
	b.waitFor("document.body.innerText.includes('licence 2026-1') && document.body.innerText.includes('user:admin')")
	b.shot("triage")
	b.open(home + "/findings?decision=licensed")
	b.waitFor("document.querySelectorAll('tbody tr').length === 1")

	b.open(home + "/findings/web-1.example/hostile")
	b.waitFor("document.querySelector('h1').innerText.includes('<script>')")
	if title := b.eval("document.title"); title == "owned" || b.eval("document.scripts.length") != "0" {
		t.Errorf("a finding ran script in the console; title %q", title)
	}

	b.open(home + "/agents")
	b.waitFor("document.body.innerText.includes('reporting') && document.body.innerText.includes('degraded')")
	b.shot("agents")
	b.open(home + "/agents/web-1.example")
	b.waitFor("document.body.textContent.includes('Missing numbers') && document.querySelector('td.bad').innerText === '6'")
	b.shot("agent")
	b.open(home + "/exporters")
	b.waitFor("document.body.innerText.includes('up to date')")
	b.shot("exporters")
	b.open(home + "/access")
	b.waitFor("document.body.innerText.includes('set legal hold') && document.body.innerText.includes('sign-in refused')")
	b.shot("access")
	b.eval("document.querySelector('.who button').click()")
	b.waitFor("location.pathname === '/signin'")
	b.open(home + "/findings")
	b.waitFor("location.pathname === '/signin'")
}

func TestConsoleRefusesWhatIsNotAsked(t *testing.T) {
	s := startSite(t, testConfig(t))
	home := "https://" + s.at.People.String()
	client := insecureClient()
	for _, path := range []string{"/findings", "/findings/a/b", "/findings/a/b/evidence", "/agents", "/agents/a", "/exporters", "/access", "/password", "/"} {
		res, err := client.Get(home + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/signin" {
			t.Errorf("%s without a session: %s", path, res.Status)
		}
		csp := res.Header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	cookie := signInFor(t, client, home, "admin", s.password)
	if !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode {
		t.Errorf("cookie %+v", cookie)
	}
	req, err := http.NewRequest("POST", home+"/signout", strings.NewReader("csrf=guess"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.AddCookie(cookie)
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a form without its secret: %s", res.Status)
	}
	req.Header.Set("Origin", "https://elsewhere.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err = client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a form from elsewhere: %s", res.Status)
	}
}
