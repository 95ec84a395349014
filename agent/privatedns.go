package agent

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// maxAskers bounds the processes remembered as asking DNS in private.
const maxAskers = 256

// dotPort is that of DNS over TLS and DNS over QUIC (RFC 7858 section 3.1, RFC 9250
// section 4.1.1).
const dotPort = 853

// dohNames are public resolvers that answer DNS over HTTPS (RFC 8484), as their
// operators publish them: with all names below them.
var dohNames = []string{
	"cloudflare-dns.com", "one.one.one.one", "dns.google", "dns.quad9.net", "doh.opendns.com", "dns.nextdns.io",
	"dns.adguard-dns.com", "doh.cleanbrowsing.org", "dns.mullvad.net", "doh.mullvad.net", "dns.controld.com", "doh.dns.sb", "dns0.eu",
}

// askers remembers which processes ask a resolver in a way that shows no names:
// what they connect to afterwards has none.
type askers struct {
	mu   sync.Mutex
	whom map[sensor.ProcessRef]string
}

func newAskers() *askers { return &askers{whom: map[sensor.ProcessRef]string{}} }

// notice learns from a flow.
func (a *askers) notice(o *rules.Observation, owner sensor.OwnerRef) {
	whom := privateDNS(o)
	if whom == "" || owner.Process.PID == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.whom[owner.Process]; !known && len(a.whom) >= maxAskers {
		clear(a.whom) // those that go on asking are seen again
	}
	a.whom[owner.Process] = whom
}

// privateDNS says which resolver a flow asks unseen.
func privateDNS(o *rules.Observation) string {
	if o.Direction != rules.Outbound || o.Outcome != rules.OutcomeData {
		return ""
	}
	if o.Remote.Port == dotPort {
		return fmt.Sprintf("%s by TLS or QUIC (port %d)", o.Remote.Addr, dotPort)
	}
	if o.TLS == nil || o.TLS.SNI == "" {
		return ""
	}
	name := strings.ToLower(o.TLS.SNI)
	for _, known := range dohNames {
		if name == known || strings.HasSuffix(name, "."+known) {
			return name + " by HTTPS"
		}
	}
	return ""
}

// seen lists them in words, for doctor.
func (a *askers) seen(process processes) []string {
	a.mu.Lock()
	whom := maps.Clone(a.whom)
	a.mu.Unlock()
	return inWords(whom, "asks", process)
}
