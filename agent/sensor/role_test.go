package sensor

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport/agent/testenv"
)

// roleEnv has the test binary play another program instead of testing.
const roleEnv = "SALLYPORT_SENSOR_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := roles[role](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var roles = map[string]func([]string) error{
	"connect": func(args []string) error { // ADDRESS: connects, says hello, ends
		conn, err := net.DialTimeout("tcp", args[0], patience)
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte("hello"))
		return err
	},
	"serve": func([]string) error { // serves one connection of the listener at descriptor 3
		l, err := net.FileListener(os.NewFile(3, "listener"))
		if err != nil {
			return err
		}
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		if _, err = conn.Write([]byte("welcome")); err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, conn)
		return err
	},
	"sniff": func([]string) error { // raw sockets of both transports, until stdin ends
		for _, protocol := range []int{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, protocol)
			if err != nil {
				return err
			}
			go func() {
				buf := make([]byte, 65536)
				for {
					unix.Read(fd, buf)
				}
			}()
		}
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	"tun": func([]string) error { // holds a TUN device until stdin ends
		if err := openTUN("sptun0"); err != nil {
			return err
		}
		fmt.Println("ready")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	},
	"sleep": func([]string) error { time.Sleep(patience); return nil },
}

func openTUN(name string) error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
}

// role prepares the test binary in a role inside the namespace.
func role(t *testing.T, n testenv.Netns, name string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := n.Command(self, args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// background starts a role that says "ready" and runs until the test ends.
func background(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
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
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatalf("start %v: %v", cmd.Args, err)
	}
}
