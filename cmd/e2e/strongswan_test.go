package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// charon's configuration: user-space ESP in UDP through a TUN device, since the
// kernel here has no ESP of its own.
const strongSwanConf = `charon {
  load = random nonce aes gcm sha1 sha2 hmac kdf curve25519 gmp openssl pem pkcs1 pkcs8 x509 pubkey constraints revocation kernel-libipsec kernel-netlink socket-default vici updown
  install_virtual_ip = no
  piddir = %[1]s/run
  i_dont_care_about_security_and_use_aggressive_mode_psk = yes
  plugins {
    vici { socket = unix://%[1]s/vici.sock }
    kernel-libipsec { allow_peer_ts = yes }
    kernel-netlink { fwmark = !0x42 }
    socket-default { fwmark = 0x42 }
  }
}
`

const swanctlConf = `connections { lab {
  version = %d
  aggressive = %[6]s
  local_addrs = %[2]s
  remote_addrs = %[3]s
  encap = yes
  proposals = aes256-sha256-modp2048
  local { auth = %[7]s
 id = %[2]s
 %[8]s
 }
  remote { auth = %[7]s
 id = %[3]s
 }
  children { net {
    local_ts = %[4]s
    remote_ts = %[5]s
    esp_proposals = aes128gcm16-modp2048,aes128-sha256
  } }
} }
%[9]s
`

// ike is a way of strongSwan's to authenticate.
type ike struct {
	version     int
	aggressive  bool
	certificate bool
	wrongSecret bool // at the client
}

// words are the settings of one end.
func (v ike) words(end string) (aggressive, auth, certs, secrets string) {
	aggressive, auth, secrets = "no", "psk", `secrets { ike-1 { secret = "not-a-secret" } }`
	if v.aggressive {
		aggressive = "yes"
	}
	if v.certificate {
		auth, certs, secrets = "pubkey", "certs = own.pem", ""
	}
	if v.wrongSecret && end == "client" {
		secrets = `secrets { ike-1 { secret = "another" } }`
	}
	return aggressive, auth, certs, secrets
}

// certify gives an end a certificate of the lab's own authority.
func (l *lab) certify(end, address string) {
	l.t.Helper()
	testenv.Tool(l.t, "pki")
	dir := l.path(end) + "/swanctl/"
	if _, err := os.Stat(l.path("ca.key")); err != nil {
		l.run("sh", "-c", `pki --gen --type rsa --size 2048 --outform pem > ca.key && pki --self --ca --in ca.key --dn "CN=lab" --outform pem > ca.pem`)
	}
	l.run("sh", "-c", fmt.Sprintf(`pki --gen --type rsa --size 2048 --outform pem > %[1]sprivate/own.pem && cp ca.pem %[1]sx509ca/ &&
pki --pub --in %[1]sprivate/own.pem | pki --issue --cacert ca.pem --cakey ca.key --dn "CN=%[2]s" --san %[3]s --outform pem > %[1]sx509/own.pem`, dir, end, address))
}

func strongSwan(l *lab, how ike) expectation {
	testenv.Tool(l.t, "swanctl")
	charon := "/usr/lib/ipsec/charon"
	if _, err := os.Stat(charon); err != nil {
		l.t.Fatalf("charon is not installed (sudo make test installs it): %v", err)
	}
	const inner = "10.7.%d.1/32"
	ends := []struct {
		name           string
		netns          testenv.Netns
		local, remote  string
		inside, beyond string
	}{
		{"server", l.server, l.remote.String(), l.caller.String(), fmt.Sprintf(inner, 2), fmt.Sprintf(inner, 1)},
		{"client", l.client, l.caller.String(), l.remote.String(), fmt.Sprintf(inner, 1), fmt.Sprintf(inner, 2)},
	}
	for _, e := range ends {
		dir := l.path(e.name)
		for _, d := range []string{"run", "swanctl/x509", "swanctl/x509ca", "swanctl/private"} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
				l.t.Fatal(err)
			}
		}
		l.write(e.name+"/strongswan.conf", fmt.Sprintf(strongSwanConf, dir))
		if how.certificate {
			l.certify(e.name, e.local)
		}
		aggressive, auth, certs, secrets := how.words(e.name)
		l.write(e.name+"/swanctl/swanctl.conf", fmt.Sprintf(swanctlConf, how.version, e.local, e.remote, e.inside, e.beyond, aggressive, auth, certs, secrets))
		e.netns.Run(l.t, "ip", "addr", "add", e.inside, "dev", "lo")
		// charon keeps a pid file in /run and refuses to run twice on a host.
		p := l.start(e.netns, []string{"STRONGSWAN_CONF=" + dir + "/strongswan.conf"}, "unshare", "-m", "--propagation", "private", "sh", "-c",
			"mount --bind "+dir+"/run /run && exec "+charon)
		p.listens(e.netns, "u", 4500)
		p.until("takes its configuration", func() bool { return l.swanctl(e.name, "--load-all") == nil })
	}
	if err := l.swanctl("client", "--initiate", "--child", "net", "--timeout", "20"); err != nil {
		l.t.Logf("initiate: %v (the exchange itself is what counts)", err)
	}
	return expectation{
		protocol: fmt.Sprintf("ikev%d", how.version), client: "charon", server: "charon", transport: rules.UDP,
	}
}

func (l *lab) swanctl(end string, args ...string) error {
	dir := l.path(end)
	cmd := exec.Command("swanctl", append(args, "--uri", "unix://"+dir+"/vici.sock")...)
	cmd.Env = append(os.Environ(), "SWANCTL_DIR="+dir+"/swanctl", "STRONGSWAN_CONF="+dir+"/strongswan.conf")
	cmd.WaitDelay = 30 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
