package console

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"sallyport/rules"
)

// story tells a finding in sentences.
type story struct {
	Who, What, Where, How string
}

func tell(f *rules.Finding) story {
	o := &f.Observation
	return story{Who: who(&o.Owner), What: what(o), Where: where(o), How: how(o)}
}

// who names the owner, and how sure that is.
func who(w *rules.Owner) string {
	p := w.Process
	if p == nil {
		return "The process is not known."
	}
	name := p.Executable
	if name == "" {
		name = p.Name
	}
	text := fmt.Sprintf("%s (process %d)", name, p.PID)
	if p.User != "" {
		text += ", run by " + p.User
	} else {
		text += fmt.Sprintf(", run by user %d", p.UID)
	}
	if c := w.Container; c != nil {
		switch {
		case c.Pod != "":
			text += ", in pod " + c.Namespace + "/" + c.Pod
		case c.ID != "":
			text += ", in container " + short(c.ID)
		}
	}
	known := map[rules.Attribution]string{
		rules.AttributionExact:     "It was seen at its own system call.",
		rules.AttributionInherited: "It owns the listening socket; the child that answered was not seen sending.",
		rules.AttributionSeeded:    "The socket is older than the agent; the process was found through its open files.",
		rules.AttributionTunnel:    "It configured the kernel tunnel that carried the flow.",
	}[w.Attribution]
	text += ". " + known
	if w.Intermediary != "" {
		text += " It is a " + w.Intermediary + " and relays for others: the client is not known."
	}
	return strings.TrimSpace(text)
}

// what says what went between the ends.
func what(o *rules.Observation) string {
	protocol := o.Identification.Protocol
	if protocol == "" || protocol == "none" {
		protocol = "an unidentified protocol"
	}
	if o.Identification.State == "suspected" {
		protocol = "what looks like " + protocol
	}
	verb := map[rules.Direction]string{rules.Outbound: "This host opened", rules.Inbound: "The remote opened", rules.DirectionUnknown: "Seen was"}[o.Direction]
	if verb == "" {
		verb = "Seen was"
	}
	far := map[rules.Outcome]string{
		rules.OutcomeBlocked:     "it was stopped on this host before it left",
		rules.OutcomeAttempted:   "no answer was seen",
		rules.OutcomeRefused:     "it was refused",
		rules.OutcomeEstablished: "the connection was established",
		rules.OutcomeData:        "data went both ways",
	}[o.Outcome]
	text := fmt.Sprintf("%s a flow of %s over %s; %s.", verb, protocol, o.Transport, far)
	if o.BytesOut+o.BytesIn > 0 {
		text += fmt.Sprintf(" %s left and %s came in.", bytesText(o.BytesOut), bytesText(o.BytesIn))
	}
	return text
}

// where names the remote by all it is known by.
func where(o *rules.Observation) string {
	text := "The remote is " + endpoint(o.Remote)
	if o.RemoteAsked != nil {
		text += ", which the process asked for as " + endpoint(*o.RemoteAsked)
	}
	if h := o.Hidden; h != nil {
		host := h.Host
		if host == "" {
			host = h.Addr.String()
		}
		text += ", a proxy; the request names " + net.JoinHostPort(host, strconv.Itoa(int(h.Port)))
	}
	var names []string
	for _, n := range o.Names {
		names = append(names, n.Name+" ("+n.Source+")")
	}
	if len(names) > 0 {
		text += ", known as " + strings.Join(names, ", ")
	}
	if g := o.Geo; g != nil {
		place := strings.Trim(g.City+", "+g.Country, ", ")
		if g.ASN != 0 {
			place = strings.TrimPrefix(place+fmt.Sprintf("; AS%d %s", g.ASN, g.Organisation), "; ")
		}
		if place != "" {
			text += ". By GeoIP: " + place
		}
	}
	return text + "."
}

func how(o *rules.Observation) string {
	i := o.Identification
	if i.Evidence == "" {
		return "Nothing in its bytes identified a protocol."
	}
	return i.Evidence
}

func endpoint(e rules.Endpoint) string {
	switch {
	case !e.Addr.IsValid():
		return "unknown"
	case e.Port == 0:
		return e.Addr.String()
	}
	return net.JoinHostPort(e.Addr.String(), strconv.Itoa(int(e.Port)))
}

func short(id string) string { return id[:min(len(id), 12)] }

func bytesText(n uint64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for ; v >= unit && i < 5; i++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %cB", v, "kMGTPE"[i])
}
