package protocol

import (
	"bytes"
	"strings"
)

// httpPort is that of a target that names none, RFC 9110 section 4.2.1.
const httpPort = "80"

// noteProxied reads the true remote of a request in absolute form, which is how a
// proxy is asked (RFC 9112 section 3.2.2). An origin server has to take that form
// too, so that only the Via with which a proxy marks its answer (RFC 9110 section
// 7.6.3) shows that it was one. open: the answer's fields are still to come.
func noteProxied(f *Flow, e *exchange) (open bool) {
	target, ok := bytes.CutPrefix(e.target, []byte("http://"))
	if !ok {
		return false
	}
	authority, _, _ := bytes.Cut(target, []byte("/"))
	host, port, ok := splitHostPort(withPort(string(authority)))
	if !ok || f.Facts.Hidden != nil {
		return false
	}
	_, fields, _ := bytes.Cut(e.reply, []byte("\n"))
	over := bytes.Index(e.reply, []byte("\r\n\r\n"))
	if over < 0 && !f.Closed && len(e.reply) < MaxStream {
		return true
	}
	if (exchange{fields: fields}).field("Via") != "" {
		f.Facts.Hidden = &Hidden{Host: host, Port: port, By: "http_proxy"}
	}
	return false
}

// withPort adds the port that is meant where none is written.
func withPort(authority string) string {
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		return authority
	}
	return authority + ":" + httpPort
}
