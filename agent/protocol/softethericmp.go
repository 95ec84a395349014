package protocol

// What stands in front of an R-UDP packet inside ICMP: type, code, checksum,
// identifier and sequence number (RFC 792), then a 20-byte hash.
const softEtherICMPHead = 8 + 20

// softEtherICMP is the detector of SoftEther's VPN over ICMP.
func softEtherICMP() Detector {
	return Detector{
		Name: "softether-icmp",
		Doc: Doc{
			How:      "ICMP messages with R-UDP packets inside, each of whose initialisation vectors stands in the ciphertext of one before.",
			Confirms: "Both sides do so.",
			Limits:   "One message alone tells nothing. Other tunnels over ICMP are not recognised.",
			Source:   "SoftEtherVPN, src/Mayaqua/Network.c RUDPSendSegmentNow (Apache-2.0 source, read for facts); RFC 792",
		},
		Proto: 1,
		Look: func(f *Flow) Result {
			r := Result{State: sidesAgree(softEtherChain(&f.Client, softEtherICMPHead), softEtherChain(&f.Server, softEtherICMPHead)), Label: "softether", Product: "SoftEther VPN"}
			switch r.State {
			case Confirmed:
				r.Evidence = "SoftEther VPN over ICMP: messages both ways that announce the next one's initialisation vector in their ciphertext"
			case Suspected:
				r.Evidence = "SoftEther VPN over ICMP: messages one way that announce the next one's initialisation vector in their ciphertext"
			default:
				return undecided(f)
			}
			return r
		},
	}
}
