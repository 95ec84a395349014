package protocol

import "testing"

// fuzzRemote shows hostile flows to one detector, with the tables of remote access
// as seeds.
func fuzzRemote(f *testing.F, d Detector) {
	var seeds []vpnFlow
	for _, c := range remoteCases() {
		flow := vpnFlow{proto: c.proto(), client: 40000, server: 40001}
		for _, p := range c.order() {
			flow.pieces = append(flow.pieces, vpnPiece{!p.client, []byte(p.data)})
		}
		seeds = append(seeds, flow)
	}
	fuzzDetector(f, d, seeds...)
}

func FuzzRDP(f *testing.F)           { fuzzRemote(f, rdp()) }
func FuzzRDPUDP(f *testing.F)        { fuzzRemote(f, rdpUDP()) }
func FuzzSSH(f *testing.F)           { fuzzRemote(f, ssh()) }
func FuzzVNC(f *testing.F)           { fuzzRemote(f, vnc()) }
func FuzzSSTP(f *testing.F)          { fuzzRemote(f, sstp()) }
func FuzzOpenConnect(f *testing.F)   { fuzzRemote(f, openconnect()) }
func FuzzGlobalProtect(f *testing.F) { fuzzRemote(f, globalprotect()) }
func FuzzFortiVPN(f *testing.F)      { fuzzRemote(f, fortivpn()) }
func FuzzTeamViewer(f *testing.F)    { fuzzRemote(f, teamviewer()) }
func FuzzRustDesk(f *testing.F)      { fuzzRemote(f, rustdesk()) }
func FuzzOtherRemote(f *testing.F)   { fuzzRemote(f, otherRemoteAccess()) }
func FuzzProxyHeader(f *testing.F)   { fuzzRemote(f, proxyHeader()) }
func FuzzHTTP(f *testing.F)          { fuzzRemote(f, http()) }
