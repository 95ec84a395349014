package protocol

import "bytes"

// ssh recognises SSH by its version exchange.
func ssh() Detector {
	return Detector{
		Name: "ssh",
		Doc: Doc{
			How:      "the identification string SSH-<version>-<software>, in a server's case also after other lines",
			Confirms: "an identification string from both sides",
			Limits:   "a flow caught after the version exchange shows nothing",
			Source:   "RFC 4253 section 4.2",
		},
		TCP:  func(first []byte, _ bool) bool { return begins(first, "SSH-") },
		Look: lookSSH,
	}
}

// sshFacts reads the key exchange for its fingerprints and has no label.
func sshFacts() Detector {
	return Detector{
		Name: "ssh-facts",
		Doc: Doc{
			How:      "reads SSH_MSG_KEXINIT of both sides for HASSH",
			Confirms: "nothing: it fills facts",
			Limits:   "SSH 2 only",
			Source:   "RFC 4253 section 7.1; salesforce/hassh",
		},
		TCP:   func(first []byte, _ bool) bool { return begins(first, "SSH-") },
		Facts: true,
		Look:  lookSSHKeys,
	}
}

// maxIdentification bounds an identification string, RFC 4253 section 4.2.
const maxIdentification = 255

// identification cuts the string out of the start of a stream. whole is false
// while its end has not come; ok is false when it cannot be one.
func identification(b []byte) (line, rest []byte, whole, ok bool) {
	if !begins(b, "SSH-") {
		return nil, nil, true, false
	}
	end := bytes.IndexByte(b[:min(len(b), maxIdentification)], '\n')
	if end < 0 {
		return b, nil, false, len(b) < maxIdentification && printable(bytes.TrimRight(b, "\r"))
	}
	line = bytes.TrimRight(b[:end], "\r")
	// SSH-protoversion-softwareversion; the protocol is 1.x or 2.0.
	if len(line) < 8 || line[4] < '1' || line[4] > '2' || line[5] != '.' {
		return nil, nil, true, false
	}
	return line, b[end+1:], true, true
}

// maxGreeting bounds the lines that a server may send first.
const maxGreeting = 4096

// afterGreeting skips the lines that a server may send before its
// identification string.
func afterGreeting(b []byte) []byte {
	if begins(b, "SSH-") {
		return b
	}
	if at := bytes.Index(b[:min(len(b), maxGreeting)], []byte("\nSSH-")); at >= 0 {
		return b[at+1:]
	}
	return b
}

func lookSSH(f *Flow) Result {
	client, _, cWhole, cOK := identification(f.Client.Stream)
	server, _, sWhole, sOK := identification(afterGreeting(f.Server.Stream))
	if len(f.Server.Stream) == 0 || len(f.Client.Stream) == 0 {
		return loneSSH(f, client, server, cWhole, sWhole, cOK, sOK)
	}
	switch {
	case cOK && cWhole && sOK && sWhole:
		facts := f.ssh(client, server)
		return Result{State: Confirmed, Label: "ssh", Product: software(facts.ServerVersion), Evidence: "SSH identification strings from both sides"}
	case cOK && sOK:
		if len(client) >= 4 || len(server) >= 4 {
			return Result{State: Suspected, Label: "ssh", Evidence: "SSH identification string from one side"}
		}
		return Result{State: NeedMore}
	case cOK && cWhole || sOK && sWhole:
		return Result{State: Suspected, Label: "ssh", Evidence: "SSH identification string from one side"}
	}
	return Result{State: NotThis}
}

// loneSSH judges a flow of which one side has been silent so far.
func loneSSH(f *Flow, client, server []byte, cWhole, sWhole, cOK, sOK bool) Result {
	switch {
	case cOK && cWhole, sOK && sWhole:
		f.ssh(client, server)
		return Result{State: Suspected, Label: "ssh", Evidence: "SSH identification string from one side"}
	case cOK, sOK:
		return Result{State: NeedMore}
	}
	return Result{State: NotThis}
}

// ssh stores the strings once.
func (f *Flow) ssh(client, server []byte) *SSH {
	if f.Facts.SSH == nil {
		f.Facts.SSH = &SSH{}
	}
	s := f.Facts.SSH
	if s.ClientVersion == "" && len(client) > 0 {
		s.ClientVersion = clipLine(client)
	}
	if s.ServerVersion == "" && len(server) > 0 {
		s.ServerVersion = clipLine(server)
	}
	return s
}

// clipLine is the line with what does not print replaced.
func clipLine(b []byte) string {
	if printable(b) {
		return string(b)
	}
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r > 0x7e {
			return '?'
		}
		return r
	}, b))
}

// software is what the identification string calls the server.
func software(version string) string {
	for dashes, i := 0, 0; i < len(version); i++ {
		if version[i] == '-' {
			if dashes++; dashes == 2 {
				return version[i+1:]
			}
		}
	}
	return ""
}
