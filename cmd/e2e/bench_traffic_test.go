package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"testing"

	"sallyport/agent/testenv"
)

// RDP's first messages: an X.224 Connection Request with a cookie that asks for
// TLS, and the Connection Confirm that grants it ([MS-RDPBCGR] 2.2.1.1, 2.2.1.2).
var (
	rdpRequest = append([]byte{3, 0, 0, 42, 37, 0xe0, 0, 0, 0, 0, 0}, append([]byte("Cookie: mstshash=bench\r\n"), 1, 0, 8, 0, 1, 0, 0, 0)...)
	rdpConfirm = []byte{3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, 2, 0, 8, 0, 1, 0, 0, 0}
)

// serveRDP confirms every connection request.
func serveRDP(b *testing.B, n testenv.Netns) {
	rdpRequest[3], rdpRequest[4] = byte(len(rdpRequest)), byte(len(rdpRequest)-5)
	l := listenIn(b, n, "0.0.0.0:3389")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := io.ReadFull(conn, make([]byte, len(rdpRequest))); err == nil {
					conn.Write(rdpConfirm)
					io.Copy(io.Discard, conn)
				}
			}()
		}
	}()
}

// contactRDP makes one contact.
func contactRDP(b *testing.B, n testenv.Netns, remote string) {
	b.Helper()
	conn, err := dialIn(b, n, "tcp", net.JoinHostPort(remote, "3389"))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(rdpRequest); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, len(rdpConfirm))); err != nil {
		b.Fatal(err)
	}
}

// connectUntil makes connections that carry 517 bytes, which begin as TLS does,
// and 2 back, from one thread, until ctx ends. It gives their number.
func connectUntil(ctx context.Context, b *testing.B, client, server testenv.Netns) (made int) {
	l := listenIn(b, server, testenv.ServerAddr+":0")
	go func() {
		buf := make([]byte, 517)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := io.ReadFull(conn, buf); err == nil {
				conn.Write(buf[:2])
			}
			conn.Close()
		}
	}()
	hello := make([]byte, 517)
	hello[0], hello[1] = 0x16, 3
	client.Do(b, func() {
		for ctx.Err() == nil {
			conn, err := net.DialTimeout("tcp", l.Addr().String(), dialLimit)
			if err != nil {
				b.Error(err)
				return
			}
			conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: ports are few
			conn.Write(hello)
			io.ReadFull(conn, hello[2:4])
			conn.Close()
			made++
		}
	})
	return made
}

// newLines reads what has been added to a file of JSON lines since offset.
func newLines[T any](b *testing.B, path string, offset *int64) (out []T) {
	b.Helper()
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, *offset, 1<<30))
	if err != nil {
		b.Fatal(err)
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	*offset += int64(len(data))
	for line := range bytes.Lines(data) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			b.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}
