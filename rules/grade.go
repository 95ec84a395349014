package rules

import (
	"fmt"
	"slices"
)

// Class is what kind of contact a detection is about.
type Class string

// Classes of contact.
const (
	ClassRemoteDesktop Class = "rdp"
	ClassVPN           Class = "vpn"
	ClassRemoteAccess  Class = "remote_access"
	ClassContact       Class = "contact"
	ClassQuery         Class = "dns_query" // a name was asked for; no remote was met
)

// ClassOf is the class of an identified protocol. SSH, a proxy protocol or none
// at all is a contact.
func ClassOf(protocol string) Class {
	switch protocol {
	case "rdp", "rdp-udp":
		return ClassRemoteDesktop
	case "openvpn", "wireguard", "ikev1", "ikev2", "esp", "ah", "l2tp", "pptp", "gre", "sstp", "softether",
		"anyconnect-dtls", "openconnect", "globalprotect", "fortivpn", "tailscale", "zerotier", "hamachi",
		"nebula", "tinc", "n2n", "vpn-tunnel":
		return ClassVPN
	case "vnc", "teamviewer", "anydesk", "rustdesk", "other-remote-access":
		return ClassRemoteAccess
	}
	return ClassContact
}

// Legal is where the entity stood by name.
type Legal string

// Legal standings.
const (
	LegalListed Legal = "listed" // when the flow happened, and now
	LegalLater  Legal = "later"  // designated after the flow
	LegalLifted Legal = "lifted" // every designation has been lifted
	LegalOwned  Legal = "owned"  // not by name; possibly blocked by ownership
	LegalNone   Legal = "none"   // no designation is known
)

// Circumstances is all that severity and confidence depend on.
type Circumstances struct {
	Class           Class
	Outcome         Outcome
	Direction       Direction
	Suspected       bool // the protocol was seen on one side only
	Type            IndicatorType
	Confidence      Confidence
	ActorConfidence Confidence // "" where no actor stands between
	Scope           Scope
	HolderUnlisted  bool
	NameOnly        bool // names alone tie it; no address or certificate does
	OtherPort       bool
	Seized          bool // the flow happened after the seizure
	Age             Age
	Legal           Legal
}

// Grade is a severity, a confidence in the tie, and why.
type Grade struct {
	Severity   Severity
	Confidence Confidence
	Why        []string
}

var severities = []Severity{SeverityInfo, SeverityLow, SeverityMedium, SeverityHigh, SeverityCritical}

// GradeOf is the one function that gives severity and confidence.
//
// It starts at critical for an established RDP, VPN or remote-access flow, at
// high for any other established contact, and at medium where nothing was
// established. Each circumstance then caps it, or lowers it by steps, and says
// so in words:
//
//	an inbound attempt, a tool, a victim, a sinkhole,
//	a handshake fingerprint                              at most low
//	a holder that is not listed                          info
//	every designation lifted                             at most low
//	undated; low confidence; asn; not designated; seized at most medium
//	a prefix; names alone; medium confidence; suspected;
//	another port; direction unknown; ownership; designated later   at most high
//	stale, or undated with a stale source                one step down
//	expired or not yet valid                             two steps down
//
// Confidence is the lowest of the indicator's and the actor link's, at most
// medium where the tie is stale, undated or rests on names, low where it never
// implies the entity or did not hold when the flow happened.
func GradeOf(c Circumstances) Grade {
	g := grader{level: 4, confidence: 2}
	g.start(c)
	g.strength(c)
	g.scope(c)
	g.legal(c)
	g.age(c)
	return Grade{severities[g.level], Confidence(confidences[g.confidence]), g.why}
}

type grader struct {
	level      int // index in severities
	confidence int // index in confidences
	why        []string
}

// atMost caps the severity and gives the reason where it is one.
func (g *grader) atMost(s Severity, why string) {
	g.level = min(g.level, slices.Index(severities, s))
	g.why = append(g.why, fmt.Sprintf("%s: %s at most", why, s))
}

func (g *grader) down(steps int, why string) {
	g.level = max(g.level-steps, 0)
	g.why = append(g.why, fmt.Sprintf("%s: lowered by %d", why, steps))
}

func (g *grader) trust(c Confidence) {
	if i := slices.Index(confidences, string(c)); i >= 0 {
		g.confidence = min(g.confidence, i)
	}
}

// Established says whether the handshake of a flow was completed.
func (o Outcome) Established() bool { return o == OutcomeEstablished || o == OutcomeData }

func (g *grader) start(c Circumstances) {
	switch {
	case c.Class == ClassQuery:
		g.atMost(SeverityMedium, "a name was asked for, and no contact with its remote is part of this")
	case !c.Outcome.Established() && c.Direction == Inbound:
		g.atMost(SeverityLow, fmt.Sprintf("an inbound attempt that did not come through (%s)", c.Outcome))
	case !c.Outcome.Established():
		g.atMost(SeverityMedium, fmt.Sprintf("nothing was established (%s)", c.Outcome))
	case c.Class == ClassContact:
		g.atMost(SeverityHigh, "an established flow, by no protocol that gives control of a host or network")
	default:
		g.why = append(g.why, fmt.Sprintf("an established %s flow", className[c.Class]))
	}
	if c.Direction != Inbound && c.Direction != Outbound && c.Class != ClassQuery {
		g.atMost(SeverityHigh, "which side opened the flow is not known")
	}
	if c.Suspected {
		g.atMost(SeverityHigh, "the protocol was seen on one side only")
	}
}

var className = map[Class]string{ClassRemoteDesktop: "RDP", ClassVPN: "VPN", ClassRemoteAccess: "remote-access"}

func (g *grader) strength(c Circumstances) {
	g.trust(c.Confidence)
	switch c.Confidence {
	case ConfidenceMedium:
		g.atMost(SeverityHigh, "the indicator has medium confidence")
	case ConfidenceLow, "":
		g.trust(ConfidenceLow)
		g.atMost(SeverityMedium, "the indicator has low confidence")
	}
	g.trust(c.ActorConfidence)
	switch c.ActorConfidence {
	case ConfidenceMedium:
		g.atMost(SeverityHigh, "the link from the actor to the entity has medium confidence")
	case ConfidenceLow:
		g.atMost(SeverityMedium, "the link from the actor to the entity has low confidence")
	}
	switch c.Type {
	case TypeASN:
		g.trust(ConfidenceMedium)
		g.atMost(SeverityMedium, "an autonomous system holds many parties' addresses")
	case TypeCIDR:
		g.atMost(SeverityHigh, "a prefix may hold several parties' addresses")
	case TypeJA3, TypeJA4, TypeHASSH:
		g.trust(ConfidenceLow)
		g.atMost(SeverityLow, "a handshake fingerprint names software, not who runs it")
	}
	if c.NameOnly {
		g.trust(ConfidenceMedium)
		g.atMost(SeverityHigh, "a name alone ties the flow; anyone can point or send a name")
	}
	if c.OtherPort {
		g.atMost(SeverityHigh, "the sources name other ports of this remote")
	}
}

func (g *grader) scope(c Circumstances) {
	reasons := map[Scope]string{
		ScopeTool:     "others use the same tool",
		ScopeVictim:   "the remote belonged to a victim",
		ScopeSinkhole: "others answer there now",
	}
	if why, ok := reasons[c.Scope]; ok {
		g.trust(ConfidenceLow)
		g.atMost(SeverityLow, why+", so it implies no entity")
	}
	if c.HolderUnlisted {
		g.trust(ConfidenceLow)
		g.atMost(SeverityInfo, "its registered holder is not listed, so this is for review only")
	}
	if c.Seized {
		g.atMost(SeverityMedium, "it had been seized, so an authority answers there; what asks for it remains of interest")
	}
}

func (g *grader) legal(c Circumstances) {
	switch c.Legal {
	case LegalLifted:
		g.atMost(SeverityLow, "every designation of the entity has been lifted")
	case LegalLater:
		g.atMost(SeverityHigh, "the entity was designated after the flow")
	case LegalOwned:
		g.atMost(SeverityHigh, "the entity is not designated by name but possibly blocked by ownership")
	case LegalNone:
		g.atMost(SeverityMedium, "no designation of the entity is known")
	}
}

func (g *grader) age(c Circumstances) {
	switch c.Age {
	case AgeUndated, AgeOld:
		g.trust(ConfidenceMedium)
		g.atMost(SeverityMedium, "no source dates the use of the indicator")
	}
	switch c.Age {
	case AgeOld:
		g.down(1, "and its newest source is old or undated")
	case AgeStale:
		g.trust(ConfidenceMedium)
		g.down(1, "the indicator is stale: it was last seen long before the flow")
	case AgeExpired:
		g.trust(ConfidenceLow)
		g.down(2, "the indicator had expired when the flow happened")
	case AgeEarly:
		g.trust(ConfidenceLow)
		g.down(2, "the indicator was not yet valid when the flow happened")
	}
}
