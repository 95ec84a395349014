package naming

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Bounds of what is read of one message. A DNS message has 65,535 bytes at most,
// which is room for thousands of records that nobody needs.
const (
	maxQuestions = 4
	maxAnswers   = 256
	maxChain     = 16 // CNAMEs in a row; resolvers stop sooner
)

// Query is a name asked for.
type Query struct {
	Name     string // lower case, without the last dot
	Type     string // "A", "AAAA", "HTTPS", ..., or the number
	Answered bool   // seen in the answer
	RCode    string // of the answer: "success", "name error", ...
}

type answer struct {
	owner string
	addr  netip.Addr
	ttl   uint32
}

// alias is a CNAME.
type alias struct {
	owner, target string
	ttl           uint32
}

// DNS reads one message, from the DNS header on; over TCP without the length
// before it. An answer binds its addresses to the name asked for and to every
// name of the CNAME chain between, in the network namespace it was seen in. An
// answer seen on loopback, from a stub resolver, is like any other. Records that
// do not lead back to the question bind nothing: a server must not be able to
// name what it was not asked for. Malformed messages are counted.
func (t *Table) DNS(netns, cgroup uint64, fromServer bool, msg []byte, at time.Time) []Query {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.Response != fromServer || h.OpCode != 0 {
		t.drop("malformed")
		return nil
	}
	queries, err := questions(&p)
	if err != nil {
		t.drop("malformed")
		return nil
	}
	if !h.Response {
		return queries
	}
	for i := range queries {
		queries[i].Answered, queries[i].RCode = true, rcode(h.RCode)
	}
	aliases, answers, err := records(&p)
	if err != nil {
		t.drop("malformed") // what came before the fault still counts
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range answers {
		names, ttl, asked := chain(a, aliases, queries)
		if !asked {
			t.dropped["unasked"]++
			continue
		}
		for _, name := range names { // the name asked for comes last, and so first in Names
			t.bind(key{netns, a.addr}, cgroup, name, time.Duration(ttl)*time.Second, at)
		}
	}
	return queries
}

func (t *Table) drop(reason string) {
	t.mu.Lock()
	t.dropped[reason]++
	t.mu.Unlock()
}

func questions(p *dnsmessage.Parser) ([]Query, error) {
	var out []Query
	for {
		q, err := p.Question()
		if err == dnsmessage.ErrSectionDone {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if len(out) < maxQuestions {
			out = append(out, Query{Name: clean(q.Name), Type: typeName(q.Type)})
		}
	}
}

// records reads the answer section.
func records(p *dnsmessage.Parser) (aliases []alias, answers []answer, err error) {
	for range maxAnswers {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			return aliases, answers, nil
		}
		if err != nil {
			return aliases, answers, err
		}
		owner := clean(h.Name)
		switch {
		case h.Class != dnsmessage.ClassINET:
			err = p.SkipAnswer()
		case h.Type == dnsmessage.TypeA:
			var r dnsmessage.AResource
			if r, err = p.AResource(); err == nil {
				answers = append(answers, answer{owner, netip.AddrFrom4(r.A), h.TTL})
			}
		case h.Type == dnsmessage.TypeAAAA:
			var r dnsmessage.AAAAResource
			if r, err = p.AAAAResource(); err == nil {
				answers = append(answers, answer{owner, netip.AddrFrom16(r.AAAA).Unmap(), h.TTL})
			}
		case h.Type == dnsmessage.TypeHTTPS:
			var r dnsmessage.HTTPSResource
			if r, err = p.HTTPSResource(); err == nil {
				answers = append(answers, hints(owner, h.TTL, r)...)
			}
		case h.Type == dnsmessage.TypeCNAME && len(aliases) < maxChain:
			var r dnsmessage.CNAMEResource
			if r, err = p.CNAMEResource(); err == nil {
				aliases = append(aliases, alias{owner, clean(r.CNAME), h.TTL})
			}
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return aliases, answers, err
		}
	}
	return aliases, answers, nil
}

// hints gives the addresses of an HTTPS record (RFC 9460 section 7.3): a browser
// may connect to them and never ask for an A record.
func hints(owner string, ttl uint32, r dnsmessage.HTTPSResource) (out []answer) {
	v4, _ := r.GetParam(dnsmessage.SVCParamIPv4Hint)
	for chunk := range slices.Chunk(v4, 4) {
		if a, ok := netip.AddrFromSlice(chunk); ok && len(out) < maxAnswers {
			out = append(out, answer{owner, a, ttl})
		}
	}
	v6, _ := r.GetParam(dnsmessage.SVCParamIPv6Hint)
	for chunk := range slices.Chunk(v6, 16) {
		if a, ok := netip.AddrFromSlice(chunk); ok && a.Is6() && len(out) < maxAnswers {
			out = append(out, answer{owner, a.Unmap(), ttl})
		}
	}
	return out
}

// chain walks from an address back to the name asked for. The binding lives no
// longer than the shortest link.
func chain(a answer, aliases []alias, queries []Query) (names []string, ttl uint32, asked bool) {
	names, ttl = []string{a.owner}, a.ttl
	for range maxChain {
		last := names[len(names)-1]
		if slices.ContainsFunc(queries, func(q Query) bool { return q.Name == last }) {
			return names, ttl, true
		}
		i := slices.IndexFunc(aliases, func(c alias) bool { return c.target == last })
		if i < 0 || slices.Contains(names, aliases[i].owner) {
			return names, ttl, false
		}
		names, ttl = append(names, aliases[i].owner), min(ttl, aliases[i].ttl)
	}
	return names, ttl, false
}

// clean gives a name in the form everything else uses. Bytes that are not
// printable are written as RFC 1035 section 5.1 does, so that a name can go to a
// terminal.
func clean(n dnsmessage.Name) string {
	raw := n.Data[:n.Length]
	plain := true
	for _, c := range raw {
		plain = plain && c > ' ' && c < 0x7F && (c < 'A' || c > 'Z')
	}
	if plain {
		return strings.TrimSuffix(string(raw), ".")
	}
	var b strings.Builder
	for _, c := range raw {
		switch {
		case c >= 'A' && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		case c > ' ' && c < 0x7F:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return strings.TrimSuffix(b.String(), ".")
}

func typeName(t dnsmessage.Type) string {
	return strings.TrimPrefix(t.String(), "Type")
}

func rcode(c dnsmessage.RCode) string {
	switch c {
	case dnsmessage.RCodeSuccess:
		return "success"
	case dnsmessage.RCodeNameError:
		return "name error"
	case dnsmessage.RCodeServerFailure:
		return "server failure"
	case dnsmessage.RCodeRefused:
		return "refused"
	}
	return strings.TrimPrefix(c.String(), "RCode")
}
