package protocol

import "bytes"

// lookInside asks the detectors of remote access about what a tunnel carries:
// the bytes after n of the client and after m of the server. Unknown: nothing
// of theirs; open: it may still become something.
func lookInside(f *Flow, n, m int) (best Result, open bool) {
	inner := *f
	inner.Client.Stream, inner.Server.Stream = f.Client.Stream[n:], f.Server.Stream[m:]
	if len(inner.Client.Stream) == 0 && len(inner.Server.Stream) == 0 {
		return Result{}, true
	}
	for _, look := range [...]func(*Flow) Result{lookRDP, lookSSH, lookVNC} {
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

// prefaceEnd gives where what comes before the true protocol ends on each
// side: an HTTP CONNECT and its reply, or a PROXY protocol header. Both are
// zero when there is none; n is -1 when it is not over yet.
func prefaceEnd(client, server []byte) (n, m int) {
	if starts(client, "CONNECT ") {
		return connectEnd(client, server)
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

func connectEnd(client, server []byte) (n, m int) {
	end := []byte("\r\n\r\n")
	n, m = bytes.Index(client, end), bytes.Index(server, end)
	if n < 0 || m < 0 || !starts(server, "HTTP/1.") {
		return -1, 0
	}
	return n + len(end), m + len(end)
}
