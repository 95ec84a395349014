package naming

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

var at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// rr is a record of a test's message: "A", "AAAA" or "CNAME".
type rr struct {
	owner, kind, value string
	ttl                uint32
}

func message(t testing.TB, response bool, question string, rrs ...rr) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: 7, Response: response})
	b.EnableCompression()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.StartQuestions())
	must(b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(question), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}))
	must(b.StartAnswers())
	for _, r := range rrs {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(r.owner), Class: dnsmessage.ClassINET, TTL: r.ttl}
		switch r.kind {
		case "A":
			must(b.AResource(h, dnsmessage.AResource{A: netip.MustParseAddr(r.value).As4()}))
		case "AAAA":
			must(b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(r.value).As16()}))
		case "HTTPS":
			res := dnsmessage.HTTPSResource{SVCBResource: dnsmessage.SVCBResource{Priority: 1, Target: dnsmessage.MustNewName(".")}}
			a := netip.MustParseAddr(r.value).As4()
			res.SetParam(dnsmessage.SVCParamIPv4Hint, a[:])
			must(b.HTTPSResource(h, res))
		case "CNAME":
			must(b.CNAMEResource(h, dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(r.value)}))
		}
	}
	msg, err := b.Finish()
	must(err)
	return msg
}

func names(t *Table, netns uint64, addr string, when time.Time) (out []string) {
	for _, n := range t.Names(netns, netip.MustParseAddr(addr), when) {
		if n.Source != "dns" || n.At.IsZero() {
			out = append(out, "bad: "+n.Source)
		}
		out = append(out, n.Name)
	}
	return out
}

func TestAnswerBinds(t *testing.T) {
	for _, test := range []struct {
		name     string
		question string
		rrs      []rr
		addr     string
		want     []string
	}{
		{"address", "WWW.Example.com.", []rr{{"www.example.com.", "A", "192.0.2.1", 60}}, "192.0.2.1", []string{"www.example.com"}},
		{"v6", "a.example.", []rr{{"a.example.", "AAAA", "2001:db8::1", 60}}, "2001:db8::1", []string{"a.example"}},
		{"mapped v6 answer", "a.example.", []rr{{"a.example.", "AAAA", "::ffff:192.0.2.9", 60}}, "192.0.2.9", []string{"a.example"}},
		{"chain", "a.example.", []rr{{"a.example.", "CNAME", "b.example.", 60}, {"b.example.", "CNAME", "c.example.", 60}, {"c.example.", "A", "192.0.2.2", 60}},
			"192.0.2.2", []string{"a.example", "b.example", "c.example"}},
		{"chain out of order", "a.example.", []rr{{"c.example.", "A", "192.0.2.2", 60}, {"b.example.", "CNAME", "c.example.", 60}, {"a.example.", "CNAME", "b.example.", 60}},
			"192.0.2.2", []string{"a.example", "b.example", "c.example"}},
		{"HTTPS hint", "a.example.", []rr{{"a.example.", "HTTPS", "192.0.2.7", 60}}, "192.0.2.7", []string{"a.example"}},
		{"unasked record", "a.example.", []rr{{"bank.example.", "A", "192.0.2.3", 60}}, "192.0.2.3", nil},
		{"looping chain", "a.example.", []rr{{"b.example.", "CNAME", "c.example.", 60}, {"c.example.", "CNAME", "b.example.", 60}, {"b.example.", "A", "192.0.2.4", 60}}, "192.0.2.4", nil},
		{"unprintable", "a\x1b[2J.example.", []rr{{"a\x1b[2J.example.", "A", "192.0.2.5", 60}}, "192.0.2.5", []string{`a\027[2j.example`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := New(DefaultConfig())
			table.DNS(1, 2, true, message(t, true, test.question, test.rrs...), at)
			if diff := cmp.Diff(test.want, names(table, 1, test.addr, at)); diff != "" {
				t.Error(diff)
			}
			if got := names(table, 2, test.addr, at); got != nil {
				t.Errorf("another namespace sees %v", got)
			}
		})
	}
}

func TestLifeOfABinding(t *testing.T) {
	cfg := DefaultConfig()
	table := New(cfg)
	table.DNS(1, 0, true, message(t, true, "a.example.", rr{"a.example.", "CNAME", "b.example.", 30}, rr{"b.example.", "A", "192.0.2.1", 300}), at)
	table.DNS(1, 0, true, message(t, true, "long.example.", rr{"long.example.", "A", "192.0.2.2", 1 << 31}), at)
	for _, test := range []struct {
		addr  string
		after time.Duration
		want  int
	}{
		{"192.0.2.1", 30*time.Second + cfg.Keep, 2}, // the shortest link counts
		{"192.0.2.1", 31*time.Second + cfg.Keep, 0},
		{"192.0.2.2", cfg.MaxTTL + cfg.Keep, 1},
		{"192.0.2.2", cfg.MaxTTL + cfg.Keep + time.Second, 0},
	} {
		if got := names(table, 1, test.addr, at.Add(test.after)); len(got) != test.want {
			t.Errorf("%s after %s: %v, want %d names", test.addr, test.after, got, test.want)
		}
	}
}

func TestQueries(t *testing.T) {
	table := New(DefaultConfig())
	got := table.DNS(1, 0, false, message(t, false, "Ask.example."), at)
	if diff := cmp.Diff([]Query{{Name: "ask.example", Type: "A"}}, got); diff != "" {
		t.Error(diff)
	}
	got = table.DNS(1, 0, true, message(t, true, "ask.example."), at)
	if diff := cmp.Diff([]Query{{Name: "ask.example", Type: "A", Answered: true, RCode: "success"}}, got); diff != "" {
		t.Error(diff)
	}
	// A client cannot answer its own question.
	table.DNS(1, 0, false, message(t, true, "x.example.", rr{"x.example.", "A", "192.0.2.1", 60}), at)
	if got := names(table, 1, "192.0.2.1", at); got != nil {
		t.Errorf("an answer from the client bound %v", got)
	}
}

func TestTableIsBounded(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxAddresses = 8
	table := New(cfg)
	bind := func(cgroup uint64, i int) {
		table.DNS(1, cgroup, true, message(t, true, "a.example.", rr{"a.example.", "A", fmt.Sprintf("192.0.2.%d", i), 60}), at)
	}
	bind(7, 1)
	for i := 10; i < 60; i++ {
		bind(8, i) // one container floods
	}
	if got := names(table, 1, "192.0.2.1", at); len(got) != 1 {
		t.Error("the flood of one cgroup pushed out another's name")
	}
	if s := table.Stats(); s.Addresses > 8 || s.Dropped["table_full"] == 0 {
		t.Errorf("stats = %+v", s)
	}
	for cgroup := range uint64(40) {
		bind(100+cgroup, 100+int(cgroup))
	}
	if s := table.Stats(); s.Addresses > 8 || len(table.byGroup) > 8 {
		t.Errorf("stats = %+v with %d groups", s, len(table.byGroup))
	}
	for i := range 40 {
		name := fmt.Sprintf("n%d.example.", i)
		table.DNS(1, 8, true, message(t, true, name, rr{name, "A", "192.0.2.200", 60}), at)
	}
	if got := names(table, 1, "192.0.2.200", at); len(got) != maxNames || got[0] != "n39.example" {
		t.Errorf("%d names, first %v", len(got), got)
	}
}

func FuzzDNS(f *testing.F) {
	f.Add(true, message(f, true, "a.example.", rr{"a.example.", "CNAME", "b.example.", 60}, rr{"b.example.", "A", "192.0.2.2", 60}))
	f.Add(false, message(f, false, "a.example."))
	f.Add(true, []byte{0, 1, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xC0, 0x0C, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, fromServer bool, msg []byte) {
		cfg := DefaultConfig()
		cfg.MaxAddresses = 16
		table := New(cfg)
		for _, q := range table.DNS(1, 1, fromServer, msg, at) {
			for _, c := range q.Name {
				if c < ' ' || c > '~' {
					t.Fatalf("name %q is not printable", q.Name)
				}
			}
		}
		if s := table.Stats(); s.Addresses > 16 {
			t.Fatalf("%d addresses", s.Addresses)
		}
	})
}
