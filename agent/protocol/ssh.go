package protocol

import "bytes"

// ssh recognises SSH by its version exchange.
func ssh() Detector {
	return Detector{
		Name: "ssh",
		Doc: Doc{
			How:      "the identification string SSH-VERSION-SOFTWARE, in a server's case also after other lines; caught in the middle, the messages of the key exchange",
			Confirms: "an identification string, or key exchange messages, from both sides",
			Limits:   "a flow caught after the key exchange shows nothing",
			Source:   "RFC 4253 sections 4.2, 6 and 7.1",
		},
		TCP: func(first []byte, _ bool) bool {
			_, _, packet := sshPacket(first)
			return packet || begins(first, "SSH-")
		},
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

// sshPrefix says whether b starts with SSH-, a protocol version of 1.x or 2.x,
// and a dash: as much as an implementation has to send to be answered.
func sshPrefix(b []byte) bool {
	if !starts(b, "SSH-") || len(b) < 8 || b[4] != '1' && b[4] != '2' || b[5] != '.' {
		return false
	}
	end := bytes.IndexByte(b[6:min(len(b), 12)], '-')
	return end > 0 && only(b[6:6+end], "0123456789")
}

// identification cuts the string out of the start of a stream, without its
// line end; rest is nil while that has not come.
func identification(b []byte) (line, rest []byte) {
	if end := bytes.IndexByte(b[:min(len(b), maxIdentification)], '\n'); end >= 0 {
		return bytes.TrimRight(b[:end], "\r"), b[end+1:]
	}
	return bytes.TrimRight(b[:min(len(b), maxIdentification)], "\r"), nil
}

func lineWhole(b []byte) bool {
	_, rest := identification(b)
	return rest != nil || len(b) >= maxIdentification
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
	client, server := f.Client.Stream, afterGreeting(f.Server.Stream)
	c, s := sshPrefix(client), sshPrefix(server)
	if c || s {
		f.ssh(client, server, c, s)
	}
	answer := Result{State: sidesAgree(c, s), Label: "ssh"}
	switch answer.State {
	case Confirmed:
		if !f.Closed && !(lineWhole(client) && lineWhole(server)) {
			answer.State = Suspected // the rest of a string is still to come
		}
		answer.Product = software(f.Facts.SSH.ServerVersion)
		answer.Evidence = "SSH identification strings from both sides"
	case Suspected:
		answer.Evidence = "SSH identification string from one side"
	default:
		return lookSSHMiddle(f)
	}
	return answer
}

// ssh stores the strings of the sides that speak SSH, the longest yet seen.
func (f *Flow) ssh(client, server []byte, c, s bool) {
	if f.Facts.SSH == nil {
		f.Facts.SSH = &SSH{}
	}
	if line, _ := identification(client); c && len(line) > len(f.Facts.SSH.ClientVersion) {
		f.Facts.SSH.ClientVersion = clipLine(line)
	}
	if line, _ := identification(server); s && len(line) > len(f.Facts.SSH.ServerVersion) {
		f.Facts.SSH.ServerVersion = clipLine(line)
	}
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
