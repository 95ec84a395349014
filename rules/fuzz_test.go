package rules

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzParseAllowList(f *testing.F) {
	f.Add([]byte("allow:\n  - {value: 198.51.100.0/24, executable: /usr/bin/*, host: web-*, reason: ours, author: me, until: \"2027-01-01\"}\n  - {entity: e, reason: r, author: a, until: \"2027\"}\n"))
	f.Add([]byte("allow: [{value: example.org, until: 2027-01-01}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParseAllowList("f", data)
		if err != nil {
			return
		}
		for i := range list.Allow {
			e := &list.Allow[i]
			if e.Value == "" && e.Entity == "" || e.Reason == "" || e.Author == "" || !e.Until.Known() {
				t.Fatalf("an entry that silences without a word was taken: %+v", e)
			}
			e.covers(flowTo("198.51.100.7"), nil)
		}
	})
}

func FuzzParseApprovedTools(f *testing.F) {
	f.Add([]byte("approved:\n  - {product: AnyDesk, endpoint: relay.example.com, owner: /opt/*, user: u, reason: r, author: a, until: \"2027-01-01\"}\n"))
	f.Add([]byte("approved: [{product: rdp}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tools, err := ParseApprovedTools("f", data)
		if err != nil {
			return
		}
		for i := range tools.Approved {
			e := &tools.Approved[i]
			if e.Product == "" || e.Reason == "" || e.Author == "" || !e.Until.Known() {
				t.Fatalf("an entry that silences without a word was taken: %+v", e)
			}
			e.covers(flowTo("198.51.100.7"))
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add(Token{"https://collector.example:8443", strings.Repeat("ab", 32), "s"}.Encode())
	f.Add("sp1.e30")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			return
		}
		if again, err := ParseToken(token.Encode()); err != nil || again != token {
			t.Fatalf("%+v does not come back: %+v, %v", token, again, err)
		}
	})
}

// FuzzLookup asks what people type and paste.
func FuzzLookup(f *testing.F) {
	set := shippedSet(f)
	for _, s := range []string{"198[.]51[.]100[.]7", "hxxps://w8510[.]com/x", "AS210644", "203.0.113.0/24", "[2001:db8::1]:443", "user@host.example:1/p", strings.Repeat("ab", 20), "t13d1516h2_8daaf6152771_02713d6af862"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		matches, err := set.Lookup(s, testNow)
		if err != nil && len(matches) > 0 {
			t.Fatal("both an answer and an error")
		}
	})
}

// FuzzNormal holds that a spelling that was made normal stays as it is.
func FuzzNormal(f *testing.F) {
	for i, v := range []string{"::ffff:8.8.8.8", "8.8.8.8/24", "as1", "WWW.Example.COM.", strings.Repeat("AB:", 19) + "AB"} {
		f.Add(uint8(i), v)
	}
	f.Fuzz(func(t *testing.T, n uint8, value string) {
		kind := IndicatorType(indicatorTypes[int(n)%len(indicatorTypes)])
		once, err := Normal(kind, value)
		if err != nil {
			return
		}
		if twice, err := Normal(kind, once); err != nil || twice != once {
			t.Fatalf("%s %q became %q, and that %q, %v", kind, value, once, twice, err)
		}
		_ = CheckValue(kind, once, false)
	})
}

// FuzzParseSigmaRule asks every rule that loads about a flow.
func FuzzParseSigmaRule(f *testing.F) {
	f.Add([]byte("title: T\nid: 5\nlogsource: {category: network_connection, product: linux}\ndetection: {s: {DestinationPort|gte: 1, Image|endswith: [a, b]}, k: [word], condition: 1 of s* and not k}\nsallyport: {enabled: false, class: vpn}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Count(data, []byte("re:")) > 3 {
			return // long expressions are slow to compile, and not what is tried here
		}
		r, err := ParseSigmaRule("f.yml", data, nil)
		if err != nil {
			return
		}
		r.Detects(flowTo("198.51.100.7"), nil)
		if len(r.Digest()) != 64 {
			t.Fatal("no digest")
		}
	})
}
