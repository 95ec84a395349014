package e2e

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tunnelKey is known to both ends of the tests' own tunnel: nothing on the wire
// tells it from noise.
var tunnelKey = []byte("a key of sixteen")

// carryTunnel is a tunnel of the tests' own: args are a device's name, "dial" or
// "listen", and an address. Every byte on the wire is random to look at. A fourth
// is where the program looks for updates of itself, as such programs do.
func carryTunnel(args []string) error {
	device, err := openTUN(args[0])
	if err != nil {
		return err
	}
	conn, err := meet(args[1], args[2])
	if err != nil {
		return err
	}
	out, err := seal(conn)
	if err != nil {
		return err
	}
	fmt.Println("up")
	if len(args) > 3 {
		go request(args[3], 10, 3*time.Second)
	}
	failed := make(chan error, 2)
	go func() { failed <- outward(device, out) }()
	go func() { failed <- inward(conn, device) }()
	return <-failed
}

// openTUN makes a TUN device (Documentation/networking/tuntap.rst).
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func meet(how, address string) (net.Conn, error) {
	if how == "dial" {
		return net.Dial("tcp", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	fmt.Println("listening")
	return l.Accept()
}

// seal begins a sealed stream: a random start value, then what is written.
func seal(w io.Writer) (io.Writer, error) {
	start := make([]byte, aes.BlockSize)
	rand.Read(start)
	if _, err := w.Write(start); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(tunnelKey)
	if err != nil {
		return nil, err
	}
	return cipher.StreamWriter{S: cipher.NewCTR(block, start), W: w}, nil
}

func unseal(r io.Reader) (io.Reader, error) {
	start := make([]byte, aes.BlockSize)
	if _, err := io.ReadFull(r, start); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(tunnelKey)
	if err != nil {
		return nil, err
	}
	return cipher.StreamReader{S: cipher.NewCTR(block, start), R: r}, nil
}

// outward sends each packet of the device behind its length.
func outward(device io.Reader, out io.Writer) error {
	buf := make([]byte, 2+2048)
	for {
		n, err := device.Read(buf[2:])
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint16(buf, uint16(n))
		if _, err := out.Write(buf[:2+n]); err != nil {
			return err
		}
	}
}

func inward(conn io.Reader, device io.Writer) error {
	in, err := unseal(conn)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		if _, err := io.ReadFull(in, buf[:2]); err != nil {
			return err
		}
		packet := buf[:binary.BigEndian.Uint16(buf)]
		if _, err := io.ReadFull(in, packet); err != nil {
			return err
		}
		if _, err := device.Write(packet); err != nil && !errors.Is(err, unix.EIO) { // EIO: the device is not up yet
			return err
		}
	}
}
