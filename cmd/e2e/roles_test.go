package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

// roleEnv makes a copy of the test binary play a part instead of running tests:
// a process of its own, whose number the finding must name.
const roleEnv = "SALLYPORT_E2E_ROLE"

// roles are the parts: each gets the arguments behind its name.
func roles() map[string]func(args []string) error {
	return map[string]func([]string) error{
		"connect":   connectAndExit,
		"hold":      holdUntilTold,
		"last-ack":  lastACK,
		"sendto":    sendTo,
		"serve":     serveForever,
		"fork":      forkAndServe,
		"serve-fd":  serveInherited,
		"connect-x": connectRegardless,
		"tunnel":    carryTunnel,
		"browse":    browse,
		"ssh":       dialSSH,
	}
}

func play(role string) int {
	name, rest, _ := strings.Cut(role, " ")
	if err := roles()[name](strings.Fields(rest)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// part is a running role.
type part struct {
	pid    int
	stdin  io.WriteCloser
	stdout *bufio.Reader
	cmd    *exec.Cmd
}

// role starts a part in a namespace. nsenter becomes the program it starts, so
// the process number is the part's own.
func role(t testing.TB, n testenv.Netns, name string, args ...string) *part {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := n.Command(self)
	cmd.Env = append(os.Environ(), roleEnv+"="+name+" "+strings.Join(args, " "))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if name == "fork" { // it ends its child first
			cmd.Wait()
			return
		}
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &part{pid: cmd.Process.Pid, stdin: in, stdout: bufio.NewReader(out), cmd: cmd}
}

// line reads the part's next line: how it says that it is ready, and for whom.
func (p *part) line(t testing.TB) string {
	t.Helper()
	text, err := p.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("the part ended early: %v", err)
	}
	return strings.TrimSpace(text)
}

func (p *part) wait(t testing.TB) {
	t.Helper()
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("the part failed: %v", err)
	}
}

// connectAndExit makes one request and ends at once, without closing.
func connectAndExit(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], dialLimit)
	if err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(dialLimit))
	return get(conn)
}

// connectRegardless tries to connect and ends well when that fails.
func connectRegardless(args []string) error {
	conn, err := net.DialTimeout("tcp", args[0], 2*time.Second)
	if err == nil {
		conn.Close()
	}
	return nil
}

// holdUntilTold connects, says so, and sends when a line comes in.
func holdUntilTold(args []string) error {
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("connected")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	conn.SetDeadline(time.Now().Add(dialLimit))
	return get(conn)
}

// lastACK sends its first bytes on the last ACK of the handshake.
func lastACK(args []string) error {
	remote := netip.MustParseAddrPort(args[0])
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0); err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: remote.Addr().As4(), Port: int(remote.Port())}); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.NewFile(uintptr(fd), "connection"))
	return err
}

// sendTo sends a datagram to each remote from one socket that never connects.
func sendTo(args []string) error {
	c, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return err
	}
	for _, a := range args {
		if _, err := c.WriteToUDPAddrPort([]byte("nothing that anybody knows"), netip.MustParseAddrPort(a)); err != nil {
			return err
		}
	}
	return nil
}

// serveForever answers HTTP on a listener made the way Go makes it: with
// Multipath TCP, where the kernel has it.
func serveForever(args []string) error {
	config := &net.ListenConfig{}
	config.SetMultipathTCP(true)
	l, err := config.Listen(noContext, "tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return answerHTTP(l)
}

// forkAndServe makes a listener and leaves the serving to a child, whose number
// it prints.
func forkAndServe(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	child := exec.Command(self)
	child.Env = append(os.Environ(), roleEnv+"=serve-fd")
	child.ExtraFiles = []*os.File{f}
	if err := child.Start(); err != nil {
		return err
	}
	defer child.Process.Kill()
	fmt.Println(child.Process.Pid)
	_, err = io.Copy(io.Discard, os.Stdin) // until the test closes it
	return err
}

func serveInherited([]string) error {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	return answerHTTP(l)
}

func answerHTTP(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		conn.SetDeadline(time.Now().Add(dialLimit))
		conn.Read(make([]byte, 1024))
		io.WriteString(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
		conn.Close()
	}
}
