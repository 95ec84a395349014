package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/agent/history"
	"sallyport/rules"
)

func TestHistoryCommand(t *testing.T) {
	cfg := history.DefaultConfig()
	cfg.Path = filepath.Join(t.TempDir(), "history.db")
	h := history.New(cfg, hclog.NewNullLogger())
	at := time.Now().Add(-2 * time.Hour)
	for i, addr := range []string{"192.0.2.1", "192.0.2.2", "198.51.100.1"} {
		h.Add(&rules.Observation{FlowID: addr, Transport: rules.TCP, Direction: rules.Outbound, Outcome: rules.OutcomeData, First: at, Last: at, Closed: true,
			Remote: rules.Endpoint{Addr: netip.MustParseAddr(addr), Port: uint16(440 + i)},
			Owner:  rules.Owner{Process: &rules.Process{Executable: "/bin/\x1b[31mx"}},
			Names:  []rules.Name{{Name: "www.example.org", Source: "dns", At: at}}})
	}
	if err := h.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args string
		code int
		out  int    // lines
		want string // in both streams together
	}{
		{"all", "", 0, 3, "www.example.org"},
		{"prefix", "--remote 192.0.2.0/24", 0, 2, "192.0.2.2"},
		{"address", "--remote 198.51.100.1 -o json", 0, 1, `"count":1`},
		{"domain", "--domain example.org --port 441", 0, 1, "192.0.2.2"},
		{"since", "--from 1h", 0, 0, "no such flow is remembered"},
		{"limit", "--limit 2", 0, 2, "more than 2 lines"},
		{"bad prefix", "--remote nonsense", 2, 0, "neither an address nor a prefix"},
		{"bad time", "--from yesterday", 2, 0, "is no time"},
		{"bad format", "-o xml", 2, 0, "use text or json"},
		{"two leads", "--remote 192.0.2.1 --domain x", 2, 0, "none of the others can be"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := append([]string{"history", "--file", cfg.Path}, strings.Fields(test.args)...)
			code := run(args, environment{stdout: &out, stderr: &errs})
			if n := strings.Count(out.String(), "\n"); code != test.code || n != test.out || !strings.Contains(out.String()+errs.String(), test.want) {
				t.Errorf("exit %d with %d lines:\n%s%s", code, n, out.String(), errs.String())
			}
			if strings.Contains(out.String(), "\x1b") {
				t.Error("a control sequence reached the terminal")
			}
			if strings.Contains(test.args, "json") && !json.Valid(out.Bytes()) {
				t.Errorf("not JSON: %s", out.String())
			}
		})
	}
}
