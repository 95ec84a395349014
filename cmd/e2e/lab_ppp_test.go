package e2e

import (
	"bytes"
	"fmt"
	"os"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// lcpFrame is an LCP Configure-Request with a magic number (RFC 1661 section
// 5.1) in asynchronous framing (RFC 1662 section 4): the kernel here has no PPP,
// and both ends take frames made by hand.
func lcpFrame(id byte) []byte {
	return framed([]byte{0xff, 0x03, 0xc0, 0x21, 1, id, 0, 10, 5, 6, 0x11, 0x22, 0x33, 0x40 + id})
}

// lcpEcho is an Echo-Request with n bytes of data (RFC 1661 section 5.8), the size
// of what goes through a tunnel.
func lcpEcho(n int) []byte {
	return framed(append([]byte{0xff, 0x03, 0xc0, 0x21, 9, 1, byte((n + 8) >> 8), byte(n + 8), 0x11, 0x22, 0x33, 0x44}, bytes.Repeat([]byte("x"), n)...))
}

func framed(body []byte) []byte {
	check := uint16(0xffff) // the frame check sequence of RFC 1662 appendix C
	for _, b := range body {
		check ^= uint16(b)
		for range 8 {
			if check&1 != 0 {
				check = check>>1 ^ 0x8408
			} else {
				check >>= 1
			}
		}
	}
	check = ^check
	frame := []byte{0x7e}
	for _, b := range append(body, byte(check), byte(check>>8)) {
		if b < 0x20 || b == 0x7d || b == 0x7e {
			frame = append(frame, 0x7d, b^0x20)
		} else {
			frame = append(frame, b)
		}
	}
	return append(frame, 0x7e)
}

// executable writes a script.
func (l *lab) executable(name, content string) string {
	l.t.Helper()
	path := l.write(name, content)
	if err := os.Chmod(path, 0o755); err != nil {
		l.t.Fatal(err)
	}
	return path
}

func labPPTP(l *lab) expectation {
	frames := l.write("lcp", string(append(lcpFrame(1), lcpFrame(2)...)))
	ppp := l.executable("ppp", "#!/bin/sh\nstty raw -echo 2>/dev/null\nexec cat\n")
	conf := l.write("pptpd.conf", fmt.Sprintf("ppp %s\noption %s\nlocalip 10.5.0.1\nremoteip 10.5.0.10-20\nlisten %s\nnoipparam\npidfile %s\n",
		ppp, l.write("opts", ""), l.remote, l.path("pptpd.pid")))
	l.start(l.server, nil, testenv.Tool(l.t, "pptpd"), "-f", "-c", conf).listens(l.server, "t", 1723)
	l.start(l.client, nil, "sh", "-c", fmt.Sprintf("(for i in 1 2 3; do sleep 1; cat %s; done; sleep 20) | exec %s %s --nolaunchpppd --debug",
		frames, testenv.Tool(l.t, "pptp"), l.remote))
	return expectation{protocol: "pptp", client: "pptp", server: "pptpctrl", port: 1723, transport: rules.TCP}
}

func labL2TP(l *lab) expectation {
	program := testenv.Tool(l.t, "xl2tpd")
	frames := l.write("lcp", string(lcpFrame(1)))
	pppd := l.executable("pppd", fmt.Sprintf("#!/bin/sh\nstty raw -echo 2>/dev/null\ncat %[1]s\nsleep 1\ncat %[1]s\nsleep 20\n", frames))
	options := l.write("opts", "")
	confs := map[string]string{
		"server": fmt.Sprintf("[global]\nport = 1701\nlisten-addr = %s\n[lns default]\nip range = 10.4.0.10-10.4.0.20\nlocal ip = 10.4.0.1\nrequire chap = no\nrefuse pap = yes\npppoptfile = %s\n", l.remote, options),
		"client": fmt.Sprintf("[global]\nport = 1701\nlisten-addr = %s\n[lac lab]\nlns = %s\npppoptfile = %s\nautodial = yes\nredial = yes\nredial timeout = 1\n", l.caller, l.remote, options),
	}
	for _, end := range []struct {
		name  string
		netns testenv.Netns
	}{{"server", l.server}, {"client", l.client}} {
		conf := l.write(end.name+".conf", confs[end.name])
		// Its control pipe lies in /run, and pppd's path is its own.
		l.start(end.netns, nil, "unshare", "-m", "--propagation", "private", "sh", "-c", fmt.Sprintf(
			"mount -t tmpfs tmpfs /run && mkdir -p /run/xl2tpd && mount --bind %s /usr/sbin/pppd && exec %s -D -c %s -s /dev/null -p /run/xl2tpd/pid -C /run/xl2tpd/ctl",
			pppd, program, conf)).listens(end.netns, "u", 1701)
	}
	return expectation{protocol: "l2tp", client: "xl2tpd", server: "xl2tpd", port: 1701, transport: rules.UDP}
}
