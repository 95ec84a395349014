package history

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sallyport/rules"
)

// MaxSearches is the number of indicators from which walking the whole history
// once is cheaper than searching it for each.
const MaxSearches = 1000

// Retro yields the past flows that the new indicators may concern, for the judge
// to match against the new set: it decides, this only finds. The same flow may
// come more than once, under its own id, when several indicators meet it.
func (h *History) Retro(ctx context.Context, yield func(Past) bool, fresh ...rules.Tie) error {
	enough := false
	for _, in := range fresh {
		f, err := filterOf(in)
		if err != nil {
			h.log.Warn("indicator cannot be searched for", "type", string(in.Type), "value", in.Value, "error", err)
			continue
		}
		search := h.Query
		if f.ASN != 0 { // no index leads to it
			search = func(ctx context.Context, f Filter, yield func(Past) bool) error { return h.walk(ctx, f, false, yield) }
		}
		err = search(ctx, f, func(p Past) bool {
			enough = !yield(p)
			return !enough
		})
		if err != nil {
			return fmt.Errorf("search history: %w", err)
		}
		if enough {
			return nil
		}
	}
	return nil
}

// filterOf is the search for one indicator.
func filterOf(in rules.Tie) (Filter, error) {
	switch in.Type {
	case rules.TypeIP:
		a, err := netip.ParseAddr(in.Value)
		if err != nil {
			return Filter{}, err
		}
		return Filter{Prefix: netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())}, nil
	case rules.TypeCIDR:
		p, err := netip.ParsePrefix(in.Value)
		return Filter{Prefix: p}, err
	case rules.TypeASN:
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToUpper(in.Value), "AS"), 10, 32)
		return Filter{ASN: uint32(n)}, err
	case rules.TypeDomain:
		return Filter{Domain: in.Value}, nil
	case rules.TypeURLHost:
		return Filter{Host: in.Value}, nil
	case rules.TypeTLSSHA1, rules.TypeTLSSHA256:
		return Filter{Certificate: in.Value}, nil
	case rules.TypeJA3:
		return Filter{JA3: in.Value}, nil
	case rules.TypeJA4:
		return Filter{JA4: in.Value}, nil
	case rules.TypeHASSH:
		return Filter{HASSH: in.Value}, nil
	}
	return Filter{}, fmt.Errorf("unknown type %q", in.Type)
}
