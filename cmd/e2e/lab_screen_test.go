package e2e

import (
	"fmt"
	"os"
	"strings"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// labRdesktop: another maker's client, which asks for RDP without extended
// security once it is told that the server has no more.
func labRdesktop(l *lab) expectation {
	l.xrdpServer(3389, "rdp", "none", xrdpAsks)
	l.start(l.client, []string{l.display(l.client)}, testenv.Tool(l.t, "rdesktop"), "-u", "lab", "-g", "640x480", addr(l.remote, 3389))
	return expectation{protocol: "rdp", client: "rdesktop", server: "xrdp", port: 3389, transport: rules.TCP}
}

// labRDPAtWorkInStunnel: the picture changes all the time, so that stunnel's
// bytes rise with those of the RDP that it passes on.
func labRDPAtWorkInStunnel(l *lab) expectation {
	screen := l.unusedDisplay()
	const picture = 5999
	l.start(l.server, nil, testenv.Tool(l.t, "Xtigervnc"), screen, "-geometry", "640x480", "-depth", "24", "-rfbport", fmt.Sprint(picture),
		"-SecurityTypes", "None", "-localhost", "yes", "-ac").listens(l.server, "t", picture)
	l.start(l.server, []string{"DISPLAY=" + screen}, testenv.Tool(l.t, "xterm"), "-geometry", "80x24", "-e", "sh", "-c", "while :; do date; sleep 0.2; done")
	l.xrdpServer(3389, "tls", "high", fmt.Sprintf("username=\npassword=\nip=127.0.0.1\nport=%d\n", picture))
	l.stunnels(443, 3389, 13389)
	l.freeRDP("127.0.0.1", 13389, "tls")
	return expectation{protocol: "rdp", client: "stunnel4", server: "stunnel4", port: 443, transport: rules.TCP, source: "host", intermediary: "tunnel relay"}
}

// stunnels takes a port of the client's loopback to one of the server's, over TLS.
func (l *lab) stunnels(outside, inside, entry uint16) {
	l.t.Helper()
	l.terminated(outside, inside)
	l.start(l.client, nil, testenv.Tool(l.t, "stunnel4"), l.write("c.conf", fmt.Sprintf(
		"foreground=yes\npid=\n[lab]\nclient=yes\naccept=127.0.0.1:%d\nconnect=%s\nsni=www.example\n", entry, addr(l.remote, outside)))).listens(l.client, "t", entry)
}

// terminated takes the TLS off a port of the server's and passes on what was in
// it to one of its loopback. It gives the certificate.
func (l *lab) terminated(outside, inside uint16) (certificate string) {
	l.t.Helper()
	cert, key := l.certificate("www.example")
	l.start(l.server, nil, testenv.Tool(l.t, "stunnel4"), l.write("s.conf", fmt.Sprintf(
		"foreground=yes\npid=\n[lab]\naccept=%s\nconnect=127.0.0.1:%d\ncert=%s\nkey=%s\n", addr(l.remote, outside), inside, cert, key))).listens(l.server, "t", outside)
	return cert
}

// unusedDisplay is a display number that nobody has, for servers that do not
// choose one themselves.
func (l *lab) unusedDisplay() string {
	l.t.Helper()
	for n := 1000 + os.Getpid()%5000; ; n++ {
		if _, err := os.Stat(fmt.Sprintf("/tmp/.X11-unix/X%d", n)); err != nil {
			return fmt.Sprintf(":%d", n)
		}
	}
}

func (l *lab) viewer(port uint16) {
	l.t.Helper()
	l.start(l.client, []string{l.display(l.client)}, testenv.Tool(l.t, "xtigervncviewer"), "-SecurityTypes", "None", fmt.Sprintf("%s::%d", l.remote, port))
}

func vncFound(server string, port uint16) expectation {
	return expectation{protocol: "vnc", client: "xtigervncviewer", server: server, port: port, transport: rules.TCP}
}

// labX11VNC is a server of LibVNCServer's family.
func labX11VNC(l *lab) expectation {
	const port = 5901
	l.start(l.server, []string{l.display(l.server)}, testenv.Tool(l.t, "x11vnc"), "-rfbport", fmt.Sprint(port), "-listen", l.remote.String(),
		"-forever", "-nopw", "-quiet").listens(l.server, "t", port)
	l.viewer(port)
	return vncFound("x11vnc", port)
}

func labTightVNC(l *lab) expectation {
	const port = 5902
	l.start(l.server, nil, testenv.Tool(l.t, "Xtightvnc"), l.unusedDisplay(), "-geometry", "640x480", "-depth", "24", "-rfbport", fmt.Sprint(port),
		"-nolisten", "tcp", "-ac").listens(l.server, "t", port)
	l.viewer(port)
	return vncFound("Xtightvnc", port)
}

// qemu starts a machine without a disk: its firmware draws enough.
func (l *lab) qemu(port uint16, screen ...string) {
	l.t.Helper()
	l.start(l.server, nil, testenv.Tool(l.t, "qemu-system-x86_64"), append([]string{"-accel", "tcg", "-m", "32", "-nodefaults", "-display", "none"}, screen...)...).
		listens(l.server, "t", port)
}

func labQEMUVNC(l *lab) expectation {
	l.qemu(5903, "-vga", "std", "-vnc", l.remote.String()+":3")
	l.viewer(5903)
	return vncFound("qemu-system-x86_64", 5903)
}

func labSPICE(l *lab) expectation {
	const port = 5930
	l.qemu(port, "-vga", "qxl", "-spice", fmt.Sprintf("addr=%s,port=%d,disable-ticketing=on", l.remote, port))
	l.start(l.client, []string{l.display(l.client)}, testenv.Tool(l.t, "spicy"), "-h", l.remote.String(), "-p", fmt.Sprint(port))
	return expectation{protocol: "other-remote-access", client: "spicy", server: "qemu-system-x86_64", port: port, transport: rules.TCP}
}

// xrdpAsks has xrdp draw its own window and ask who it is.
const xrdpAsks = "username=ask\npassword=ask\nip=127.0.0.1\nport=-1\n"

// xrdpServer starts xrdp. session is where it takes the picture from.
func (l *lab) xrdpServer(port uint16, layer, crypt, session string) {
	l.t.Helper()
	cert, key := l.certificate("rdp-server")
	ini := l.write("xrdp.ini", fmt.Sprintf(`[Globals]
ini_version=1
fork=true
port=%d
security_layer=%s
crypt_level=%s
certificate=%s
key_file=%s
ssl_protocols=TLSv1.2, TLSv1.3
allow_channels=true
autorun=Xvnc
[Logging]
LogFile=%s
LogLevel=INFO
EnableSyslog=false
[Channels]
rdpdr=true
rdpsnd=true
drdynvc=true
cliprdr=true
rail=true
[Xvnc]
name=Xvnc
lib=libvnc.so
%s`, port, layer, crypt, cert, key, l.path("xrdp.log"), session))
	// Its pid file is shared by all of a host: a private /run keeps labs apart.
	l.start(l.server, nil, "unshare", "-m", "--propagation", "private", "sh", "-c",
		"mount -t tmpfs tmpfs /run && mkdir -p /run/xrdp/sockdir && exec "+testenv.Tool(l.t, "xrdp")+" -n -c "+ini).listens(l.server, "t", port)
}

// python is the name of the executable behind python3.
func (l *lab) python() string {
	l.t.Helper()
	name := l.run("readlink", "-f", testenv.Tool(l.t, "python3"))
	return strings.TrimSpace(name[strings.LastIndex(name, "/")+1:])
}
