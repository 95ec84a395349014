package hostevidence

import (
	"fmt"
	"strings"
	"time"

	"sallyport/agent/sensor"
	"sallyport/rules"
)

// States and source of an identification (docs/protocols.md).
const (
	confirmed = "confirmed"
	suspected = "suspected"
	source    = "host"
)

// carried is the tunnel that a process carries.
type carried struct {
	name     string // identity of what is counted; "" for nothing
	bytes    sensor.Bytes
	protocol string
	product  string
	relay    *Relay // whose flow is carried, nil for a device
	holds    string // in words
	carries  string // in words, "" where the product is not known
}

// carriedBy joins the facts. A process's own devices come first: it passes on
// what comes out of them.
func carriedBy(facts *sensor.TunnelFacts, relay *Relay, traffic map[sensor.FlowKey]sensor.Bytes) *carried {
	c := &carried{product: facts.Product, protocol: categoryOf(facts.Product), holds: "the owner holds no tunnel device"}
	if facts.Product != "" {
		c.carries = fmt.Sprintf("its executable carries %s (%s)", facts.Product, facts.Reason)
	}
	switch bytes, known := relayed(relay, traffic); {
	case len(facts.Devices) > 0:
		c.name, c.bytes = strings.Join(facts.Devices, " "), facts.DeviceBytes
		who := "the owner"
		if facts.Through != "" {
			who = facts.Through + ","
		}
		c.holds = fmt.Sprintf("%s holds the tunnel device %s", who, strings.Join(facts.Devices, ", "))
		if !facts.Since.IsZero() {
			c.holds += " since " + facts.Since.UTC().Format(time.RFC3339)
		}
	case known:
		c.name, c.bytes = fmt.Sprint(relay.Flow), bytes
		c.protocol, c.product, c.relay = relay.Protocol, relay.Product, relay
		c.holds = fmt.Sprintf("the owner passes on the %s flow that it has over loopback with %s", relay.Protocol, relay.Peer)
		c.carries = ""
	}
	return c
}

// relayed is what a relay has to pass on: what it gets over loopback goes out.
func relayed(r *Relay, traffic map[sensor.FlowKey]sensor.Bytes) (sensor.Bytes, bool) {
	if r == nil {
		return sensor.Bytes{}, false
	}
	b, known := traffic[r.Flow]
	return sensor.Bytes{Out: b.In, In: b.Out}, known
}

// identify says what a flow is, where that is more than has been said.
func (o *owner) identify(now time.Time, f *Flow, c *carried) (rules.Identification, bool) {
	m := o.flows[f.Key]
	if f.Labeled || f.Known || !f.Data || !m.counted || m.told.State == confirmed {
		return rules.Identification{}, false
	}
	id := rules.Identification{Protocol: c.protocol, Product: c.product, Source: source}
	evidence := []string{c.holds}
	v := unclear
	if s := o.groups[f.Remote.Addr()]; s != nil && c.name != "" {
		if v = s.compare(); v == together {
			evidence = append(evidence, s.words())
		}
	}
	switch {
	case v == together:
		id.State = confirmed
	case v == unclear && m.told.State == "" && c.opened(f, m.bytes):
		id.State = suspected
		evidence = append(evidence, fmt.Sprintf("the flow was opened with it and has carried as much since: out %s for %s, in %s for %s",
			size(m.bytes.Out), size(c.bytes.Out), size(m.bytes.In), size(c.bytes.In)))
	case v == unclear && c.carries != "" && m.told.State == "" && now.Sub(f.First) >= suspectAge:
		id.State = suspected
		evidence = append(evidence, "too little has passed to compare it with the flow's")
		if c.name == "" {
			evidence = evidence[:1]
		}
	default:
		return rules.Identification{}, false
	}
	if c.carries != "" {
		evidence = append(evidence, c.carries)
	}
	id.Evidence = strings.Join(evidence, "; ")
	return id, true
}

// opening bounds the time between the opening of a relayed flow and of the one
// that carries it on; handshake is what TLS may put before it: certificates.
const (
	opening   = 2 * time.Second
	handshake = 16 << 10
)

// opened says whether a flow was opened for a relayed one: at the same time, and
// with as much carried since.
func (c *carried) opened(f *Flow, bytes sensor.Bytes) bool {
	if c.relay == nil || c.bytes.Total() < least || f.First.Sub(c.relay.First).Abs() > opening {
		return false
	}
	return fits(c.bytes.Out, bytes.Out) && fits(c.bytes.In, bytes.In)
}

func fits(tunnel, flow uint64) bool { return flow >= tunnel/fewest && flow <= most*tunnel+handshake }

// words tells the comparison.
func (s *series) words() string {
	whose := "the flow's bytes"
	if s.flows > 1 {
		whose = "the bytes of the flows to this remote"
	}
	all := s.sum()
	return fmt.Sprintf("over %d looks %s rose with the tunnel's: out %s for %s, in %s for %s", len(s.steps), whose,
		size(all.flows.Out), size(all.tunnel.Out), size(all.flows.In), size(all.tunnel.In))
}

// size is a count of bytes for a person.
func size(n uint64) string {
	switch {
	case n >= 1_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
