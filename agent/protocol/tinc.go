package protocol

import "bytes"

// tincLine bounds the greeting: request number, a node's name, the version.
const tincLine = 96

// tinc is the detector of the meta connection.
func tinc() Detector {
	return Detector{
		Name: "tinc",
		Doc: Doc{
			How:      "The greeting line: request 0 (ID), the node's name, protocol version 17 and, since 1.1, its minor version.",
			Confirms: "The same greeting from both sides.",
			Limits:   "The data over UDP is tinc-udp's.",
			Source:   "tinc manual, \"The meta-protocol\"; protocol.h and protocol_auth.c (source read for facts)",
		},
		TCP: func(first []byte, _ bool) bool { return len(first) >= 3 && first[0] == '0' && first[1] == ' ' },
		Look: func(f *Flow) Result {
			client, server := tincGreeting(f.Client.Stream), tincGreeting(f.Server.Stream)
			switch {
			case client == NotThis, server == NotThis:
				return Result{State: NotThis}
			case client == Suspected && server == Suspected:
				return Result{State: Confirmed, Label: "tinc", Evidence: "tinc greeting with name and protocol version 17 from both sides"}
			case client == Suspected || server == Suspected:
				return Result{State: Suspected, Label: "tinc", Evidence: "tinc greeting with name and protocol version 17 from one side"}
			case f.Closed:
				return Result{State: NotThis}
			}
			return Result{State: NeedMore}
		},
	}
}

// tincGreeting reads "0 name 17\n" or "0 name 17.7\n"; a name may start with ?
// for an invitation.
func tincGreeting(s []byte) State {
	end := bytes.IndexByte(s[:min(len(s), tincLine)], '\n')
	if end < 0 {
		if len(s) >= tincLine || len(s) > 0 && s[0] != '0' || len(s) > 1 && s[1] != ' ' {
			return NotThis
		}
		return NeedMore
	}
	line := s[:end]
	if len(line) < 6 || line[0] != '0' || line[1] != ' ' {
		return NotThis
	}
	name, version, found := bytes.Cut(line[2:], []byte(" "))
	if !found || !tincName(name) || !bytes.HasPrefix(version, []byte("17")) {
		return NotThis
	}
	minor := version[2:]
	if len(minor) == 0 || len(minor) >= 2 && minor[0] == '.' && digits(minor[1:]) {
		return Suspected
	}
	return NotThis
}

func tincName(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("?"))
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' {
			return false
		}
	}
	return len(b) > 0
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
