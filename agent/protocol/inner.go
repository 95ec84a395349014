package protocol

import (
	"bytes"
	"strconv"
)

// lookInside asks the detectors of remote access, and OpenVPN's, which has an
// option for it, about what a tunnel carries:
// the bytes after n of the client and after m of the server. Unknown: nothing
// of theirs; open: it may still become something.
func lookInside(f *Flow, n, m int) (best Result, open bool) {
	inner := *f
	inner.Client.Stream, inner.Server.Stream = f.Client.Stream[n:], f.Server.Stream[m:]
	if len(inner.Client.Stream) == 0 && len(inner.Server.Stream) == 0 {
		return Result{}, true
	}
	for _, look := range [...]func(*Flow) Result{lookRDP, lookSSH, lookVNC, lookInnerOpenVPN} {
		switch answer := look(&inner); answer.State {
		case Confirmed, Suspected:
			if answer.State > best.State {
				best = answer
			}
		case NeedMore:
			open = true
		}
	}
	lookSSHKeys(&inner)
	return best, open
}

// lookInnerOpenVPN asks OpenVPN's cheap test first, as the engine does.
func lookInnerOpenVPN(f *Flow) Result {
	if !openvpnStream(f.Client.Stream) && !openvpnStream(f.Server.Stream) {
		if len(f.Client.Stream) < 3 && len(f.Server.Stream) < 3 {
			return Result{State: NeedMore}
		}
		return Result{State: NotThis}
	}
	return lookOpenVPN(f)
}

// prefaceEnd gives where what comes before the true protocol ends on each
// side: an HTTP CONNECT and its reply, or a PROXY protocol header. Both are
// zero when there is none; n is -1 when it is not over yet.
func prefaceEnd(client, server []byte) (n, m int) {
	if starts(client, "CONNECT ") {
		n, m, status := connectEnd(client, server)
		if status/100 != 2 {
			return -1, 0
		}
		return n, m
	}
	if begins(client, "PROXY ") || begins(client, proxyV2) {
		header, state := readProxyHeader(client)
		switch state {
		case NeedMore:
			return -1, 0
		case Suspected:
			return header.length, 0
		}
	}
	return 0, 0
}

// maxConnects bounds the requests of one connection: a proxy that wants NTLM
// refuses two before it agrees.
const maxConnects = 4

// connectEnd finds the end of a CONNECT and of its reply. A proxy may ask for a
// password first (407), and the client then asks again on the same connection.
// status is that of the last whole reply, 0 while there is none.
func connectEnd(client, server []byte) (n, m, status int) {
	for range maxConnects {
		var e exchange
		if _, ok := e.readRequest(client[n:]); !ok || !e.whole {
			return n, m, status
		}
		end := bytes.Index(server[m:], []byte("\r\n\r\n"))
		if end < 0 {
			return n, m, status
		}
		e.readReply(server[m:])
		e.fields = server[m : m+end+2]
		status = e.status
		n = len(client) - len(e.body)
		m += end + 4
		if status != 407 {
			return n, m, status
		}
		size, _ := strconv.Atoi(e.field("Content-Length")) // of a number too large: the largest
		if m += min(max(size, 0), len(server)); m > len(server) || !starts(client[n:], "CONNECT ") {
			return n, min(m, len(server)), status
		}
	}
	return n, m, status
}
