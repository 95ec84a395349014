package protocol

// Detectors is the whole registry, most specific first: where two detectors
// are equally sure, the earlier wins. Parsers of facts stand at the end.
func Detectors() []Detector {
	return []Detector{
		rdp(),
		rdpUDP(),
		ssh(),
		vnc(),
		softether(),
		sstp(),
		openconnect(),
		globalprotect(),
		fortivpn(),
		teamviewer(),
		rustdesk(),
		otherRemoteAccess(),
		proxyHeader(),
		sshFacts(),
		http(),
		quic(),
		tls(),
	}
}
