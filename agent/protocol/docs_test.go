package protocol

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update rewrites docs/protocols.md: go test ./agent/protocol -run Docs -update
var update = flag.Bool("update", false, "rewrite the generated documentation")

const protocolsPage = "../../docs/protocols.md"

const protocolsHead = `<!-- Generated from the Doc fields in agent/protocol. Do not edit: go test ./agent/protocol -run TestProtocolsPage -update -->

# How each protocol is recognised

Sallyport looks at the first bytes of both directions of a flow: at most %d bytes of each TCP stream, put in order, or the first %d datagrams. Each detector has a cheap test of the first bytes and then a look at what both sides say. An identification is *suspected* when one side speaks the protocol, *confirmed* when both do. A port number alone never identifies anything, and what is not recognised stays unknown.

A capture that begins in the middle of a flow gives what its bytes prove and no more. Where packets cannot tell, the owner of the flow may: a process that holds a TUN device carries a VPN whatever its bytes look like.

`

// hostSection is the category that no packet shows.
const hostSection = `# Shown by the host

Where the packets of a live flow show no category, facts about its owner may. Such an identification has the source ` + "`host`" + `; its category is that of the product where it is known (softether, openvpn, openconnect, wireguard, tailscale, nebula, tinc; sstp for sstp-client, fortivpn for openfortivpn, rdp for FreeRDP, whose direct connections show RDP by themselves), or of the flow that is passed on, else ` + "`vpn-tunnel`" + `.

## vpn-tunnel

- **Recognised by**: The owner's executable, or a library that it has mapped, carries a known VPN by content, and the flow has carried data both ways for ten seconds: suspected, as that product. Or the owner passes on a VPN or RDP flow that it has over loopback, and the flow was opened within two seconds of that one and has carried as much since: suspected.
- **Confirmed by**: The owner holds a TUN or TAP device, or passes on a VPN or RDP flow over loopback, and the bytes of its flows to one remote rise with the bytes of that device or flow: in three looks of a second at least, a kilobyte at least, each direction by itself, between half and four times as much.
- **Limits**: OpenConnect speaks the protocols of several makers; under TLS the host shows the program, not which of them. A server with many clients is suspected only, since no client's flow carries the whole of its device. A tunnel that rests shows nothing. Tunnels made by the kernel, a device moved to another network namespace, and Multipath TCP sockets are not compared. What a relay carries over anything but loopback is not joined.
- **Source**: Linux Documentation/networking/tuntap.rst; proc_pid_net(5); proc_pid_fdinfo(5).

# Seen with real peers

` + "`make test`" + ` and ` + "`make test-lab`" + ` run these programs live in network namespaces, and an agent must name their flows at the client's and at the server's end, through the socket sensor (ICMP and GRE: the link sensor):

- **RDP**: xrdp, FreeRDP shadow server, FreeRDP, rdesktop; inside stunnel, at rest (suspected) and at work (confirmed).
- **VPN**: OpenVPN, wireguard-go, strongSwan, SoftEther (TCP, UDP, DNS, ICMP), ocserv and OpenConnect, PPTP, L2TP, Tailscale (direct, and over a relay: suspected), nebula, tinc, n2n.
- **Others**: OpenSSH, Dropbear, Paramiko, PuTTY, Go's SSH; TigerVNC, TightVNC, x11vnc, QEMU; SPICE of QEMU; dante, microsocks, ssh -D.

Real clients against servers of the tests' own, since the real ones cannot be had: FreeRDP to an RD Gateway, OpenConnect to GlobalProtect and FortiGate, openfortivpn to FortiGate, sstpc to SSTP. Under TLS nothing of these shows; at the client's end the host does, and behind a TLS terminator the bytes. SoftEther's rendezvous servers are stood in for by a host that does not answer.

No program could be had of TeamViewer, AnyDesk, RustDesk, ZeroTier, Hamachi, Citrix, Radmin, NoMachine, ScreenConnect, NetSupport, Guacamole, DameWare, and no client that uses RDP's UDP transport: their bytes in the tests are built from their sources, or are others' captures.
`

func page() string {
	var b strings.Builder
	head := strings.Replace(protocolsHead, "%d", strconv.Itoa(MaxStream), 1)
	b.WriteString(strings.Replace(head, "%d", strconv.Itoa(MaxDatagrams), 1))
	for _, d := range Detectors() {
		d.document(&b)
	}
	b.WriteString("# Named inside TLS, DTLS and HTTP\n\nThese categories have no first bytes of their own; the detectors `tls` and `http` name them.\n\n")
	for _, d := range Products() {
		d.document(&b)
	}
	b.WriteString(hostSection)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func (d *Detector) document(b *strings.Builder) {
	b.WriteString("## " + d.Name + "\n\n")
	for _, row := range [...]struct{ name, text string }{
		{"Recognised by", d.Doc.How}, {"Confirmed by", d.Doc.Confirms}, {"Limits", d.Doc.Limits},
	} {
		b.WriteString("- **" + row.name + "**: " + strings.ToUpper(row.text[:1]) + strings.TrimSuffix(row.text[1:], ".") + ".\n")
	}
	b.WriteString("- **Source**: " + strings.TrimSuffix(d.Doc.Source, ".") + ".\n") // names as their owners write them
	var over []string
	if d.TCP != nil {
		over = append(over, "TCP")
	}
	if d.UDP != nil {
		over = append(over, "UDP")
	}
	if d.Proto != 0 {
		over = append(over, "IP protocol "+strconv.Itoa(int(d.Proto)))
	}
	if len(over) > 0 {
		b.WriteString("- **Over**: " + strings.Join(over, ", ") + ".\n")
	}
	b.WriteString("\n")
}

func TestEveryDetectorIsDocumented(t *testing.T) {
	names := map[string]bool{}
	for _, d := range append(Detectors(), Products()...) {
		if names[d.Name] {
			t.Errorf("two detectors are called %s", d.Name)
		}
		names[d.Name] = true
		if d.Doc.How == "" || d.Doc.Confirms == "" || d.Doc.Limits == "" || d.Doc.Source == "" {
			t.Errorf("%s: documentation is missing a field: %+v", d.Name, d.Doc)
		}
	}
}

// TestProtocolsPage fails when docs/protocols.md is not what the list says.
func TestProtocolsPage(t *testing.T) {
	want := page()
	if *update {
		if err := os.WriteFile(protocolsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(protocolsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want); diff != "" {
		t.Errorf("docs/protocols.md has drifted; run go test ./agent/protocol -run TestProtocolsPage -update\n%s", diff)
	}
}
