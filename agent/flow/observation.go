package flow

import (
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sallyport/agent/protocol"
	"sallyport/rules"
)

// Observation gives the flow in the shared vocabulary, with what packets show.
// Owner, names from DNS and geography are for the enrichers to add: the owner
// here holds the attribution only.
func (f *Flow) Observation(host string) rules.Observation {
	o := rules.Observation{
		FlowID:         fmt.Sprintf("%x-%x", f.First.UnixNano(), f.ID),
		Host:           host,
		Sensor:         f.Sensor,
		Netns:          f.Key.Netns,
		Transport:      TransportName(f.Transport),
		Direction:      f.Direction(),
		Local:          endpoint(f.Local()),
		Remote:         endpoint(f.Remote()),
		Outcome:        f.Outcome(),
		First:          f.First.UTC(),
		Last:           f.Last.UTC(),
		Closed:         f.Ended,
		Owner:          rules.Owner{Attribution: f.Owner.Attribution},
		Identification: f.Identification(),
		TLS:            tlsFacts(f.Facts.TLS),
		SSH:            sshFacts(f.Facts.SSH),
		Hidden:         hidden(f.Facts.Hidden),
	}
	if o.Owner.Attribution == "" {
		o.Owner.Attribution = rules.AttributionUnknown
	}
	f.counts(&o)
	f.asked(&o)
	f.names(&o)
	f.notes(&o)
	return o
}

// TransportName gives the name of an IP protocol as observations carry it.
func TransportName(proto uint8) rules.Transport {
	switch proto {
	case 6:
		return rules.TCP
	case 17:
		return rules.UDP
	}
	return rules.Transport(strconv.Itoa(int(proto)))
}

// Identification is the protocol found, in words.
func (f *Flow) Identification() rules.Identification {
	r := f.Result
	if r.Label == "" {
		return rules.Identification{Protocol: "none"}
	}
	return rules.Identification{
		Protocol: r.Label, State: StateName(r.State), Product: r.Product, Evidence: r.Evidence, Source: "packets",
	}
}

// StateName is "suspected" or "confirmed", "" for less.
func StateName(s protocol.State) string {
	switch s {
	case protocol.Suspected:
		return "suspected"
	case protocol.Confirmed:
		return "confirmed"
	}
	return ""
}

func endpoint(a netip.AddrPort) rules.Endpoint {
	return rules.Endpoint{Addr: a.Addr(), Port: a.Port()}
}

// counts gives the kernel's own counts where there are some: the packets of a
// decided flow are not copied any more.
func (f *Flow) counts(o *rules.Observation) {
	if r := f.Reported; r.Seen {
		o.PacketsOut, o.PacketsIn, o.BytesOut, o.BytesIn = r.PacketsOut, r.PacketsIn, r.BytesOut, r.BytesIn
		return
	}
	out, in := f.FromClient, f.FromServer
	if f.HasLocal && !f.ClientLocal {
		out, in = in, out
	}
	o.PacketsOut, o.BytesOut, o.PacketsIn, o.BytesIn = out.Packets, out.Bytes, in.Packets, in.Bytes
}

// asked names the remote that the owner asked for, where it is another.
func (f *Flow) asked(o *rules.Observation) {
	asked := f.Socket.Asked
	if !asked.IsValid() {
		asked = f.Socket.Remote
	}
	if asked.IsValid() && asked != f.Remote() {
		e := endpoint(asked)
		o.RemoteAsked = &e
	}
}

// names gives the names that the flow shows of itself, in one spelling. They are
// of this flow alone: another to the same address may be for another host.
func (f *Flow) names(o *rules.Observation) {
	add := func(name, source string) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		n := rules.Name{Name: name, Source: source, At: f.First.UTC()}
		if name != "" && !slices.Contains(o.Names, n) {
			o.Names = append(o.Names, n)
		}
	}
	if t := f.Facts.TLS; t != nil {
		if t.QUIC {
			add(t.SNI, "quic_sni")
		} else {
			add(t.SNI, "sni")
		}
	}
	if o.TLS != nil && len(o.TLS.Certificates) > 0 {
		for _, name := range o.TLS.Certificates[0].Names {
			add(name, "certificate")
		}
	}
	if h := o.Hidden; h != nil && h.Host != "" {
		if strings.HasPrefix(h.By, "http_") {
			add(h.Host, "connect")
		} else {
			add(h.Host, "socks")
		}
	}
}

func (f *Flow) notes(o *rules.Observation) {
	if f.MidFlow {
		o.Notes = append(o.Notes, "the opening of the flow was not seen")
	}
	if f.Tunnel != "" {
		o.Notes = append(o.Notes, "encapsulation: "+f.Tunnel)
	}
}

// Shown fills in what an indicator can meet of what the flow shows of itself: the
// remote that was asked for, and the facts. It is cheaper than Observation:
// certificates are digests only.
func (f *Flow) Shown(o *rules.Observation) {
	f.asked(o)
	o.Hidden = hidden(f.Facts.Hidden)
	o.SSH = sshFacts(f.Facts.SSH)
	t := f.Facts.TLS
	if t == nil {
		return
	}
	o.TLS = &rules.TLSFacts{SNI: t.SNI, JA3: t.JA3, JA4: t.JA4}
	for _, der := range t.Certificates {
		o.TLS.Certificates = append(o.TLS.Certificates, digests(der))
	}
}

func tlsFacts(t *protocol.TLS) *rules.TLSFacts {
	if t == nil {
		return nil
	}
	facts := &rules.TLSFacts{SNI: t.SNI, ALPN: t.ALPN, Version: tlsVersion(t), JA3: t.JA3, JA4: t.JA4, ECH: t.ECH}
	for _, der := range t.Certificates {
		facts.Certificates = append(facts.Certificates, certificate(der))
	}
	return facts
}

// tlsVersion names a version on the wire (RFC 8446 section 4.1.2, RFC 9147
// section 5.3 for DTLS, whose numbers fall).
func tlsVersion(t *protocol.TLS) string {
	switch t.Version {
	case 0:
		return ""
	case 0x0300:
		return "SSL 3.0"
	case 0x0301, 0x0302, 0x0303, 0x0304:
		return fmt.Sprintf("TLS 1.%d", t.Version-0x0301)
	case 0xfeff, 0x0100:
		return "DTLS 1.0"
	case 0xfefd:
		return "DTLS 1.2"
	case 0xfefc:
		return "DTLS 1.3"
	}
	return fmt.Sprintf("0x%04x", t.Version)
}

// maxCertificateNames bounds what one hostile certificate may add.
const maxCertificateNames = 64

func digests(der []byte) rules.CertificateFact {
	one, two := sha1.Sum(der), sha256.Sum256(der)
	return rules.CertificateFact{SHA1: hex.EncodeToString(one[:]), SHA256: hex.EncodeToString(two[:])}
}

func certificate(der []byte) rules.CertificateFact {
	fact := digests(der)
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fact // the digests stand by themselves
	}
	fact.Subject, fact.Issuer, fact.Until = c.Subject.String(), c.Issuer.String(), c.NotAfter.UTC()
	if len(c.DNSNames) == 0 && c.Subject.CommonName != "" {
		fact.Names = []string{c.Subject.CommonName}
		return fact
	}
	fact.Names = c.DNSNames[:min(len(c.DNSNames), maxCertificateNames)]
	return fact
}

func sshFacts(s *protocol.SSH) *rules.SSHFacts {
	if s == nil {
		return nil
	}
	return &rules.SSHFacts{
		ClientVersion: s.ClientVersion, ServerVersion: s.ServerVersion, HASSH: s.HASSH, HASSHServer: s.HASSHServer,
	}
}

func hidden(h *protocol.Hidden) *rules.Hidden {
	if h == nil {
		return nil
	}
	out := &rules.Hidden{Port: h.Port, By: h.By}
	if a, err := netip.ParseAddr(h.Host); err == nil {
		out.Addr = a.Unmap()
	} else {
		out.Host = h.Host
	}
	return out
}
