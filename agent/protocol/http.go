package protocol

import (
	"bytes"
	"strconv"
	"strings"
)

// http recognises HTTP/1, reads the target of CONNECT, and names the products
// that speak it in the clear.
func http() Detector {
	return Detector{
		Name: "http",
		Doc: Doc{
			How:      "a request line ending in HTTP/1.x; of CONNECT, and of an absolute target that a proxy answered (Via), the target is the flow's true remote, and what a CONNECT's tunnel carries is looked at in turn",
			Confirms: "a status line from the other side",
			Limits:   "internal label: HTTP is no category. HTTP/2 and HTTP under TLS are not read",
			Source:   "RFC 9112, RFC 9110 sections 7.6.3 and 9.3.6",
		},
		TCP:   func(first []byte, _ bool) bool { return httpStarts(first) },
		Facts: true,
		Look:  lookHTTP,
	}
}

// maxRequestLine bounds a request line; RFC 9112 section 3 recommends 8000
// octets at least.
const maxRequestLine = 8192

// httpStarts is the cheap test: a method and a space, or a status line.
func httpStarts(b []byte) bool {
	for i, c := range b[:min(len(b), 24)] {
		switch {
		case c >= 'A' && c <= 'Z', i > 0 && (c == '_' || c == '-'):
		case c == ' ':
			return i >= 3
		case c == '/':
			return i == 4 && string(b[:4]) == "HTTP"
		default:
			return false
		}
	}
	return false
}

// exchange is the start of an HTTP conversation, cut into its parts. The
// slices point into the flow's bytes.
type exchange struct {
	method, target []byte
	fields         []byte // header lines, as far as they came
	body           []byte
	whole          bool   // the header section is complete
	server         []byte // the server's bytes
	reply          []byte // the same where they begin with a status line; else nil
	status         int
}

// readRequest cuts a request. short says that its line has not ended.
func (e *exchange) readRequest(b []byte) (short, ok bool) {
	end := bytes.IndexByte(b[:min(len(b), maxRequestLine)], '\n')
	if end < 0 {
		return len(b) < maxRequestLine, false
	}
	line := bytes.TrimSuffix(b[:end], []byte("\r"))
	method, rest, found := bytes.Cut(line, []byte(" "))
	at := bytes.LastIndex(rest, []byte(" HTTP/1."))
	if !found || at <= 0 || at+9 != len(rest) {
		return false, false
	}
	e.method, e.target, e.fields = method, rest[:at], b[end+1:]
	if starts(e.fields, "\r\n") {
		e.fields, e.body, e.whole = nil, e.fields[2:], true
	} else if over := bytes.Index(e.fields, []byte("\r\n\r\n")); over >= 0 {
		e.body, e.whole = e.fields[over+4:], true
		e.fields = e.fields[:over+2]
	}
	return false, true
}

// readReply reads a status line, RFC 9112 section 4.
func (e *exchange) readReply(b []byte) {
	e.server = b
	if len(b) >= 12 && starts(b, "HTTP/1.") && b[8] == ' ' {
		e.reply = b
		e.status, _ = strconv.Atoi(string(b[9:12]))
	}
}

// field gives the value of a header field.
func (e exchange) field(name string) string {
	for rest := e.fields; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		if len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(string(line[:len(name)]), name) {
			return string(bytes.TrimSpace(line[len(name)+1:]))
		}
	}
	return ""
}

// answered gives Confirmed when the server replied in HTTP.
func (e exchange) answered() State {
	if e.reply != nil {
		return Confirmed
	}
	return Suspected
}

// refused says that the server does not know what it was asked for, so that the
// product was looked for and is not there: not found, method not allowed or not
// implemented, or a malformed request (RFC 9110 section 15).
func (e exchange) refused() bool {
	switch e.status {
	case 400, 404, 405, 410, 501:
		return true
	}
	return false
}

func lookHTTP(f *Flow) Result {
	client, server := f.Client.Stream, f.Server.Stream
	if starts(client, "HTTP/1.") && !starts(server, "HTTP/1.") {
		client, server = server, client // a capture that began with the answer
	}
	var e exchange
	e.readReply(server)
	short, ok := e.readRequest(client)
	switch {
	case !ok && short && len(client) > 0 && !f.Closed, len(client) == 0 && e.reply == nil && !f.Closed:
		return Result{State: NeedMore}
	case !ok && e.reply != nil && (len(client) == 0 || f.MidFlow):
		return Result{State: Suspected, Label: "http", Evidence: "HTTP status line from one side"}
	case !ok:
		return Result{State: NotThis}
	}
	if answer := httpProduct(e); answer.State != Unknown {
		return answer
	}
	if string(e.method) == "CONNECT" {
		return lookConnect(f, &e)
	}
	webSocketOpen := false
	if e.status == 101 {
		answer, open := lookWebSocket(client, server)
		if answer.State != Unknown {
			return answer
		}
		webSocketOpen = open && !f.Closed
	}
	answer := Result{State: e.answered(), Label: "http", Evidence: "HTTP request line from one side"}
	if noteProxied(f, &e) || webSocketOpen || !e.whole && !f.Closed && len(client) < MaxStream {
		answer.State = Suspected // what is still to come may name a product
	}
	if e.reply != nil {
		answer.Evidence = "HTTP request line, and a status line from the other side"
	}
	return answer
}

// lookConnect names the target of a CONNECT and looks at what the tunnel
// carries once the proxy has agreed.
func lookConnect(f *Flow, e *exchange) Result {
	host, port, ok := splitHostPort(string(e.target))
	if !ok {
		return Result{State: NotThis}
	}
	if f.Facts.Hidden == nil {
		f.Facts.Hidden = &Hidden{Host: host, Port: port, By: "http_connect"}
	}
	outer := Result{State: e.answered(), Label: "http", Evidence: "HTTP CONNECT to " + clip(string(e.target))}
	n, m, status := connectEnd(f.Client.Stream, f.Server.Stream)
	if status/100 != 2 {
		if (status == 0 || status == 407) && !f.Closed {
			outer.State = Suspected // the proxy has not agreed, and may yet
		}
		return outer
	}
	inner, open := lookInside(f, n, m)
	if inner.State == Unknown {
		if open && !f.Closed {
			outer.State = Suspected // what the tunnel carries is still to be seen
		}
		return outer
	}
	inner.Evidence += "; inside an HTTP CONNECT to " + clip(string(e.target))
	return inner
}

// splitHostPort cuts an authority, RFC 3986 section 3.2.
func splitHostPort(s string) (host string, port uint16, ok bool) {
	colon := strings.LastIndexByte(s, ':')
	if colon <= 0 || len(s) > 300 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(s[colon+1:], 10, 16)
	host = strings.TrimSuffix(strings.TrimPrefix(s[:colon], "["), "]")
	if err != nil || n == 0 || host == "" || !printable([]byte(host)) || strings.ContainsAny(host, " /@") {
		return "", 0, false
	}
	return host, uint16(n), true
}
