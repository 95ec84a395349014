package protocol

import (
	"bytes"
	"net/netip"
	"strconv"
)

// proxyHeader reads the PROXY protocol, by which a proxy names the true client
// of the flow.
func proxyHeader() Detector {
	return Detector{
		Name: "proxy-header",
		Doc: Doc{
			How:      "a PROXY protocol header of version 1 or 2 before the first byte of the true protocol; the source it names is the flow's true remote, and what follows is looked at in turn",
			Confirms: "nothing of its own: it fills facts, and the answer is that of the protocol inside",
			Limits:   "the header is what the proxy says, and any client can send one",
			Source:   "The PROXY protocol, versions 1 & 2 (haproxy doc/proxy-protocol.txt)",
		},
		TCP:   func(first []byte, _ bool) bool { return starts(first, "PROXY ") || starts(first, proxyV2) },
		Facts: true,
		Look:  lookProxyHeader,
	}
}

// proxyV2 is the signature of version 2, section 2.2 of the specification.
const proxyV2 = "\r\n\r\n\x00\r\nQUIT\n"

// maxProxyV1 is the longest header of version 1, section 2.1.
const maxProxyV1 = 107

type proxySource struct {
	length int // of the whole header
	source netip.AddrPort
}

// readProxyHeader reads a header at the start of b. Suspected: there is one.
func readProxyHeader(b []byte) (proxySource, State) {
	if begins(b, "PROXY ") {
		return readProxyV1(b)
	}
	return readProxyV2(b)
}

func readProxyV1(b []byte) (proxySource, State) {
	end := bytes.Index(b[:min(len(b), maxProxyV1)], []byte("\r\n"))
	if end < 0 {
		if len(b) < maxProxyV1 {
			return proxySource{}, NeedMore
		}
		return proxySource{}, NotThis
	}
	words := bytes.Split(b[:end], []byte(" "))
	if len(words) >= 2 && string(words[1]) == "UNKNOWN" {
		return proxySource{length: end + 2}, Suspected
	}
	if len(words) != 6 || string(words[1]) != "TCP4" && string(words[1]) != "TCP6" {
		return proxySource{}, NotThis
	}
	addr, err := netip.ParseAddr(string(words[2]))
	port, portErr := strconv.ParseUint(string(words[4]), 10, 16)
	if err != nil || portErr != nil {
		return proxySource{}, NotThis
	}
	return proxySource{end + 2, netip.AddrPortFrom(addr, uint16(port))}, Suspected
}

// readProxyV2 reads the binary header: signature, version and command, family
// and transport, length, addresses.
func readProxyV2(b []byte) (proxySource, State) {
	c := newCursor(b)
	if !begins(b, proxyV2) {
		return proxySource{}, NotThis
	}
	c.take(len(proxyV2))
	command, family := c.uint(1), c.uint(1)
	n := c.uint(2)
	if !c.ok {
		return proxySource{}, NeedMore
	}
	if command != 0x20 && command != 0x21 { // LOCAL, PROXY
		return proxySource{}, NotThis
	}
	h := proxySource{length: len(b) - len(c.b) + n}
	body := c.take(n)
	if !c.ok {
		if h.length > MaxStream {
			return proxySource{}, NotThis
		}
		return proxySource{}, NeedMore
	}
	size := 0
	switch family >> 4 {
	case 1:
		size = 4
	case 2:
		size = 16
	}
	if command == 0x21 && size > 0 {
		a := newCursor(body)
		addr, _ := netip.AddrFromSlice(a.take(size))
		a.take(size)
		if port := a.uint(2); a.ok {
			h.source = netip.AddrPortFrom(addr, uint16(port))
		}
	}
	return h, Suspected
}

func lookProxyHeader(f *Flow) Result {
	header, state := readProxyHeader(f.Client.Stream)
	if state != Suspected {
		if f.Closed {
			state = NotThis
		}
		return Result{State: state}
	}
	if f.Facts.Hidden == nil && header.source.IsValid() {
		f.Facts.Hidden = &Hidden{Host: header.source.Addr().String(), Port: header.source.Port(), By: "proxy_header"}
	}
	inner, open := lookInside(f, header.length, 0)
	switch {
	case inner.State != Unknown:
		inner.Evidence += "; behind a PROXY protocol header"
		return inner
	case open && !f.Closed:
		return Result{State: NeedMore}
	}
	return Result{State: NotThis}
}
