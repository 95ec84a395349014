package protocol

// Detectors is the whole registry, most specific first: where two detectors
// are equally sure, the earlier wins. Parsers of facts stand at the end.
func Detectors() []Detector {
	return []Detector{
		rdp(),
		rdpUDP(),
		ssh(),
		vnc(),
		sstp(),
		openconnect(),
		globalprotect(),
		fortivpn(),
		teamviewer(),
		rustdesk(),
		otherRemoteAccess(),
		openvpn(),
		tailscale(),
		wireguard(),
		ike(),
		espUDP(),
		esp(),
		ah(),
		gre(),
		l2tp(),
		pptp(),
		socks(),
		tinc(),
		tincUDP(),
		nebula(),
		n2n(),
		zerotier(),
		softEtherUDP(),
		softEtherICMP(),
		hamachi(),
		proxyHeader(),
		sshFacts(),
		http(),
		quic(),
		tls(),
	}
}
