package naming

import (
	"slices"
	"strings"
	"time"

	"sallyport/rules"
)

// maxCertificateNames bounds what one certificate adds.
const maxCertificateNames = 32

// FlowNames gives the names that a flow shows of itself: server name, the
// certificate's names, and a remote named inside a proxy request. They belong to
// this flow alone: another flow to the same address may be for another host.
func FlowNames(t *rules.TLSFacts, quic bool, hidden *rules.Hidden, at time.Time) []rules.Name {
	var out []rules.Name
	add := func(name, source string) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		n := rules.Name{Name: name, Source: source, At: at}
		if name != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	if hidden != nil && hidden.Host != "" {
		source := "connect"
		if strings.HasPrefix(hidden.By, "socks") {
			source = "socks"
		}
		add(hidden.Host, source)
	}
	if t == nil {
		return out
	}
	if t.SNI != "" {
		source := "sni"
		if quic {
			source = "quic_sni"
		}
		add(t.SNI, source)
	}
	if len(t.Certificates) > 0 {
		names := t.Certificates[0].Names
		for _, name := range names[:min(len(names), maxCertificateNames)] {
			add(name, "certificate")
		}
	}
	return out
}
