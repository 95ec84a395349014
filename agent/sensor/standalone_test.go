package sensor

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"sallyport/bpf"
)

func TestSocketSaysWhyItDoesNotRun(t *testing.T) {
	for _, test := range []struct {
		err         error
		unsupported bool
	}{
		{fmt.Errorf("find cgroup root: %w", bpf.ErrNoCgroup), true},
		{fmt.Errorf("load egress: %w", ebpf.ErrNotSupported), true},
		{fmt.Errorf("make maps: %w", unix.EPERM), false},
	} {
		s := NewSocket(DefaultSocketConfig(), hclog.NewNullLogger())
		if got := errors.Is(s.failed(test.err), ErrUnsupported); got != test.unsupported {
			t.Errorf("%v: unsupported %t, want %t", test.err, got, test.unsupported)
		}
		hooks := s.Hooks()
		if len(hooks) != 1 || hooks[0].Attached || hooks[0].Error == "" || hooks[0].Consequence == "" {
			t.Errorf("%v: hooks %+v do not say what follows", test.err, hooks)
		}
	}
}

func TestLinkStandsAlone(t *testing.T) {
	l := NewLink(DefaultLinkConfig(), hclog.NewNullLogger())
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if r, err := l.SetPrefixes(prefixes); err != nil || r.Loaded != 0 {
		t.Errorf("beside the socket sensor: %+v, %v", r, err)
	}
	l.StandAlone()
	if r, err := l.SetPrefixes(prefixes); err != nil || r.Loaded != 1 || !l.cfg.Tap || !l.cfg.Outgoing {
		t.Errorf("alone: %+v, %v, configuration %+v", r, err, l.cfg)
	}
}
