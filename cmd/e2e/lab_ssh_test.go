package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"sallyport/agent/testenv"
	"sallyport/rules"
)

// labDropbear: the server's users are the host's, so that the client's key is
// refused; the exchange of keys came before.
func labDropbear(l *lab) expectation {
	const port = 2222
	testenv.Tool(l.t, "dropbearkey")
	for _, key := range []string{"dropbear-host", "dropbear-user"} {
		l.run("dropbearkey", "-t", "ed25519", "-f", key)
	}
	l.start(l.server, nil, testenv.Tool(l.t, "dropbear"), "-F", "-E", "-s", "-p", addr(l.remote, port), "-r", l.path("dropbear-host"),
		"-P", l.path("dropbear.pid")).listens(l.server, "t", port)
	l.start(l.client, nil, testenv.Tool(l.t, "dbclient"), "-y", "-y", "-i", l.path("dropbear-user"), "-p", fmt.Sprint(port), "root@"+l.remote.String(), "true")
	return expectation{protocol: "ssh", client: "dbclient", server: "dropbear", port: port, transport: rules.TCP}
}

// sshServer is OpenSSH's, which takes the key "user".
func (l *lab) sshServer(port uint16) {
	l.t.Helper()
	testenv.Tool(l.t, "ssh-keygen")
	l.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", l.path("host"))
	l.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", l.path("user"))
	l.start(l.server, nil, "unshare", "-m", "--propagation", "private", "sh", "-c", fmt.Sprintf(
		"mount -t tmpfs tmpfs /run && mkdir -p /run/sshd && exec %s -D -e -f /dev/null -p %d -h %s -o AuthorizedKeysFile=%s -o StrictModes=no -o PidFile=none -o UsePAM=no -o PermitRootLogin=prohibit-password",
		testenv.Tool(l.t, "sshd"), port, l.path("host"), l.path("user.pub"))).listens(l.server, "t", port)
}

func labParamiko(l *lab) expectation {
	l.sshServer(22)
	script := l.write("client.py", fmt.Sprintf(`import paramiko
client = paramiko.SSHClient()
client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
client.connect("%s", username="root", key_filename="%s", look_for_keys=False, allow_agent=False)
client.exec_command("sleep 5")[1].read()
`, l.remote, l.path("user")))
	l.start(l.client, nil, testenv.Tool(l.t, "python3"), script)
	return expectation{protocol: "ssh", client: l.python(), server: "sshd", port: 22, transport: rules.TCP}
}

func labPlink(l *lab) expectation {
	l.sshServer(22)
	l.run("puttygen", l.path("user"), "-O", "private", "-o", l.path("user.ppk"))
	print := strings.Fields(l.run("ssh-keygen", "-lf", l.path("host.pub")))[1]
	l.start(l.client, nil, testenv.Tool(l.t, "plink"), "-ssh", "-batch", "-hostkey", print, "-i", l.path("user.ppk"), "root@"+l.remote.String(), "sleep 5")
	return expectation{protocol: "ssh", client: "plink", server: "sshd", port: 22, transport: rules.TCP}
}

// labGoSSH: both ends are golang.org/x/crypto/ssh.
func labGoSSH(l *lab) expectation {
	serveSSH(l.t, l.server, addr(l.remote, 2022))
	role(l.t, l.client, "ssh", addr(l.remote, 2022))
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	name := filepath.Base(self)
	return expectation{protocol: "ssh", client: name, server: name, port: 2022, transport: rules.TCP}
}

// dialSSH shakes hands and stays for a while.
func dialSSH(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], dialLimit)
	if err != nil {
		return err
	}
	client, _, _, err := ssh.NewClientConn(conn, args[0], &ssh.ClientConfig{User: "lab", HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: dialLimit})
	if err != nil {
		return err
	}
	time.Sleep(5 * time.Second)
	return client.Close()
}
