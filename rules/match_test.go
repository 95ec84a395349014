package rules

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var testNow = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// shippedSet compiles what ships, once a test.
func shippedSet(t testing.TB) *Set {
	t.Helper()
	entities, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	set, err := Compile(Pack{Name: "shipped", Version: "1", Date: testNow}, entities, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// flowTo is an established outbound flow to an address.
func flowTo(addr string) *Observation {
	return &Observation{
		Host: "h1", Transport: TCP, Direction: Outbound, Outcome: OutcomeData,
		Local:  Endpoint{netip.MustParseAddr("198.18.0.1"), 50000},
		Remote: Endpoint{netip.MustParseAddr(addr), 443},
		First:  testNow.Add(-time.Minute), Last: testNow,
	}
}

func TestMatchFields(t *testing.T) {
	const sha1Hash = "00112233445566778899aabbccddeeff00112233"
	const sha256Hash = sha1Hash + "00112233445566778899aabb"
	const md5Hash = "00112233445566778899aabbccddeeff"
	const ja4 = "t13d880900_fcb5b95cb75a_b0d3b4ac2a14"
	set := compileTest(t, `
id: e
name: E
kind: organisation
sources: [{id: s, name: S, date: "2026-11-01"}]
indicators:
  - {type: ip, value: 5.6.7.8, ports: [443], confidence: high, sources: [{source: s}]}
  - {type: cidr, value: 5.6.0.0/16, confidence: high, sources: [{source: s}]}
  - {type: ip, value: "2a00:1::1", confidence: high, sources: [{source: s}]}
  - {type: domain, value: evil.com, confidence: high, sources: [{source: s}]}
  - {type: url_host, value: www.shop.com, confidence: high, sources: [{source: s}]}
  - {type: asn, value: AS210644, holder: {name: X, listed: true}, confidence: high, sources: [{source: s}]}
  - {type: tls_cert_sha1, value: `+sha1Hash+`, confidence: high, sources: [{source: s}]}
  - {type: tls_cert_sha256, value: `+sha256Hash+`, confidence: high, sources: [{source: s}]}
  - {type: ja3, value: `+md5Hash+`, confidence: high, sources: [{source: s}]}
  - {type: ja4, value: `+ja4+`, confidence: high, sources: [{source: s}]}
  - {type: hassh, value: `+md5Hash+`, confidence: high, sources: [{source: s}]}
`)
	tests := []struct {
		name string
		edit func(*Observation)
		want []string
	}{
		{"nothing", func(*Observation) {}, nil},
		{"address and prefix", func(o *Observation) { o.Remote.Addr = netip.MustParseAddr("5.6.7.8") }, []string{"remote.addr ip 5.6.7.8", "remote.addr cidr 5.6.0.0/16"}},
		{"mapped address", func(o *Observation) { o.Remote.Addr = netip.MustParseAddr("::ffff:5.6.7.9") }, []string{"remote.addr cidr 5.6.0.0/16"}},
		{"IPv6", func(o *Observation) { o.Remote.Addr = netip.MustParseAddr("2a00:1::1") }, []string{"remote.addr ip 2a00:1::1"}},
		{"asked", func(o *Observation) { o.RemoteAsked = &Endpoint{netip.MustParseAddr("5.6.1.1"), 80} }, []string{"remote_asked.addr cidr 5.6.0.0/16"}},
		{"hidden address", func(o *Observation) { o.Hidden = &Hidden{Addr: netip.MustParseAddr("5.6.1.1")} }, []string{"hidden.addr cidr 5.6.0.0/16"}},
		{"hidden host", func(o *Observation) { o.Hidden = &Hidden{Host: "a.Evil.com."} }, []string{"hidden.host domain evil.com"}},
		{"domain above", func(o *Observation) { o.Names = []Name{{Name: "a.b.evil.com", Source: "dns"}} }, []string{"name domain evil.com"}},
		{"not a label", func(o *Observation) { o.Names = []Name{{Name: "notevil.com", Source: "dns"}} }, nil},
		{"host alone", func(o *Observation) { o.TLS = &TLSFacts{SNI: "www.shop.com"} }, []string{"tls.sni url_host www.shop.com"}},
		{"below a host", func(o *Observation) { o.TLS = &TLSFacts{SNI: "a.www.shop.com"} }, nil},
		{"query", func(o *Observation) { o.Query = "evil.com" }, []string{"dns.query domain evil.com"}},
		{"autonomous system", func(o *Observation) { o.Geo = &Geo{ASN: 210644} }, []string{"geo.asn asn AS210644"}},
		{"certificate", func(o *Observation) {
			o.TLS = &TLSFacts{Certificates: []CertificateFact{{SHA1: sha1Hash, SHA256: sha256Hash, Names: []string{"*.evil.com"}}}}
		}, []string{"tls.certificate tls_cert_sha1 " + sha1Hash, "tls.certificate tls_cert_sha256 " + sha256Hash, "tls.certificate.name domain evil.com"}},
		{"fingerprints", func(o *Observation) {
			o.TLS = &TLSFacts{JA3: md5Hash, JA4: ja4}
			o.SSH = &SSHFacts{HASSH: md5Hash}
		}, []string{"tls.ja3 ja3 " + md5Hash, "tls.ja4 ja4 " + ja4, "ssh.hassh hassh " + md5Hash}},
		{"same name twice", func(o *Observation) {
			o.Names = []Name{{Name: "evil.com", Source: "sni"}}
			o.TLS = &TLSFacts{SNI: "evil.com"}
		}, []string{"name domain evil.com"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := flowTo("9.9.9.9")
			tt.edit(o)
			var got []string
			for _, m := range set.Match(o, testNow) {
				got = append(got, m.Field+" "+m.Indicator.Type+" "+m.Indicator.Value)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// compileTest compiles entity files written in a test.
func compileTest(t testing.TB, files ...string) *Set {
	t.Helper()
	var entities []Entity
	for _, f := range files {
		found, err := ParseEntities("test.yaml", []byte(f))
		if err != nil {
			t.Fatal(err)
		}
		entities = append(entities, found...)
	}
	set, err := Compile(Pack{Name: "test", Version: "1"}, entities, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestMissAllocatesNothing(t *testing.T) {
	set := shippedSet(t)
	o := flowTo("9.9.9.9")
	o.Names = []Name{{Name: "www.debian.org", Source: "dns"}}
	o.RemoteAsked = &Endpoint{netip.MustParseAddr("2606:4700::1111"), 443}
	o.TLS = &TLSFacts{SNI: "www.debian.org", JA3: "0011", JA4: "t13d", Certificates: []CertificateFact{{SHA1: "aa", SHA256: "bb", Names: []string{"*.debian.org"}}}}
	o.Geo = &Geo{ASN: 13335}
	if n := testing.AllocsPerRun(1000, func() {
		if set.Match(o, testNow) != nil {
			t.Fatal("matched")
		}
	}); n != 0 {
		t.Errorf("%v allocations for a miss", n)
	}
}

func TestTestEntity(t *testing.T) {
	set := shippedSet(t)
	for _, addr := range []string{"203.0.113.9", "2001:db8:5a11::9"} {
		ms := set.Match(flowTo(addr), testNow)
		if len(ms) != 1 || !ms[0].Entity.Test {
			t.Errorf("%s: %+v, want the test entity", addr, ms)
		}
	}
}
