package hostevidence

import (
	"net/netip"
	"time"

	"sallyport/agent/sensor"
)

// Flow is an open flow of a process under watch.
type Flow struct {
	Key     sensor.FlowKey
	Owner   sensor.ProcessRef
	Remote  netip.AddrPort
	First   time.Time
	Holder  bool // the owner is known to hold a tunnel device, or to relay
	Data    bool // payload went both ways
	Labeled bool // its packets showed a category: it counts with its sisters and stays as it is
	Known   bool // its packets showed what ordinary traffic it is (DNS, HTTP): never a suspect
}

// Relay is a flow over loopback that its packets or the host show to be a
// tunnel's, as seen by the process that passes it on.
type Relay struct {
	Flow     sensor.FlowKey
	First    time.Time
	Protocol string // category of the flow
	Product  string
	Peer     string // who is at the other end, in words
}

// Host is what the facts come from: sensor.Socket.
type Host interface {
	// Tunnel gives host evidence about a process; false where there is none.
	Tunnel(sensor.ProcessRef) (sensor.TunnelFacts, bool)
	// Traffic gives the bytes of open flows as they stand now.
	Traffic(sensor.ProcessRef, []sensor.FlowKey) map[sensor.FlowKey]sensor.Bytes
}

// categories are the products that have a category of their own; what is built
// on another's protocol has none.
var categories = map[string]string{
	"softether": "softether", "openvpn": "openvpn", "openconnect": "openconnect", "wireguard": "wireguard",
	"tailscale": "tailscale", "nebula": "nebula", "tinc": "tinc",
	"sstp-client": "sstp", "openfortivpn": "fortivpn",
	"freerdp": "rdp", // by way of a gateway, or of a relay: by itself it shows RDP
}

// vpnTunnel is the category of a tunnel whose product is not known.
const vpnTunnel = "vpn-tunnel"

// categoryOf names a product's category.
func categoryOf(product string) string {
	if c := categories[product]; c != "" {
		return c
	}
	return vpnTunnel
}
