package main

import (
	"net/netip"
	"strings"
	"testing"

	"sallyport/rules"
)

// TestPrintedFinding shows a finding with what a hostile host may put into it:
// nothing of it may command a terminal or turn the text around.
func TestPrintedFinding(t *testing.T) {
	f := rules.Finding{Title: "title\x1b[31m", Why: []string{"why\u202eyhw"}}
	f.Observation.Identification.Protocol = "none"
	f.Observation.Local.Addr = netip.MustParseAddr("2001:db8::1")
	f.Observation.Remote = rules.Endpoint{Addr: netip.MustParseAddr("2001:db8::2"), Port: 443}
	f.Observation.Owner.Process = &rules.Process{Executable: "/tmp/a\nb", User: "u\x07"}
	var out strings.Builder
	if err := printFinding(&out, &f); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r != '\n' && (r < ' ' || r == 0x7f || r == '\u202e') {
			t.Errorf("%q is printed:\n%s", r, out.String())
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 7 {
		t.Errorf("%d lines, want 7:\n%s", n, out.String())
	}
	if want := "local 2001:db8::1, remote 2001:db8::2 port 443"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in:\n%s", want, out.String())
	}
}
