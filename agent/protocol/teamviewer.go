package protocol

import "bytes"

// teamviewer recognises TeamViewer's own protocol over TCP and UDP.
func teamviewer() Detector {
	return Detector{
		Name: "teamviewer",
		Doc: Doc{
			How: "TCP: messages that start with 17 24, a command and a little-endian length, or with 11 30; UDP: 00 and, at offset 11, 17 24; " +
				"in the clear its HTTP transport (client=DynGate); over TLS the names of its routers",
			Confirms: "such messages from both sides, of which one side's lengths fit or, where both have begun with 11 30, TeamViewer's port 5938",
			Limits:   "newer versions use TLS or WebRTC and then show only a name",
			Source:   "nDPI src/lib/protocols/teamviewer.c; Emerging Threats rules 2008794 and 2008795 (keep-alive)",
		},
		TCP:  func(first []byte, _ bool) bool { return teamviewerStarts(first) },
		UDP:  func(first []byte, _ int, _ bool) bool { return teamviewerDatagram(first) },
		Look: lookTeamViewer,
	}
}

// Magic numbers of a message: the first protocol, and the second.
const (
	teamviewerOne = "\x17\x24"
	teamviewerTwo = "\x11\x30"

	teamviewerPort = 5938
)

func teamviewerStarts(b []byte) bool {
	return len(b) >= 5 && (starts(b, teamviewerOne) || starts(b, teamviewerTwo))
}

func teamviewerDatagram(b []byte) bool {
	return len(b) >= 16 && b[0] == 0 && string(b[11:13]) == teamviewerOne
}

// teamviewerPorts says whether TeamViewer's port is in use: the second protocol
// shows two bytes, which are too few by themselves.
func teamviewerPorts(f *Flow) bool {
	return f.ClientPort == teamviewerPort || f.ServerPort == teamviewerPort
}

// teamviewerMessages counts messages of the first protocol that follow each
// other without a gap: magic, command, 16-bit little-endian length, body.
func teamviewerMessages(b []byte) (n int, exact bool) {
	for len(b) >= 5 && starts(b, teamviewerOne) {
		size := 5 + int(b[3]) + int(b[4])<<8
		if size > len(b) {
			return n, n > 0 // the next message has begun where it should
		}
		b, n = b[size:], n+1
	}
	return n, n > 0 && (len(b) == 0 || begins(b, teamviewerOne) || begins(b, teamviewerTwo))
}

func lookTeamViewer(f *Flow) Result {
	if f.Proto == 17 {
		return lookTeamViewerUDP(f)
	}
	client, server := f.Client.Stream, f.Server.Stream
	answer := Result{State: Suspected, Label: "teamviewer", Product: "TeamViewer", Evidence: "TeamViewer messages (17 24) from one side"}
	n, cExact := teamviewerMessages(client)
	m, sExact := teamviewerMessages(server)
	switch {
	case teamviewerStarts(client) && teamviewerStarts(server) && (cExact || sExact || teamviewerPorts(f)):
		answer.State, answer.Evidence = Confirmed, "TeamViewer messages (17 24 or 11 30) from both sides"
	case cExact && (n > 1 || len(server) == 0 && len(client) > 16), sExact && m > 1:
	case len(client) >= 5 && !teamviewerStarts(client) && len(server) >= 5 && !teamviewerStarts(server), f.Closed:
		return Result{State: NotThis}
	default:
		return Result{State: NeedMore}
	}
	return answer
}

func lookTeamViewerUDP(f *Flow) Result {
	count := func(s *Side) (n int) {
		for _, d := range s.Datagrams {
			if teamviewerDatagram(d) {
				n++
			}
		}
		return n
	}
	c, s := count(&f.Client), count(&f.Server)
	switch {
	case c > 0 && s > 0:
		return Result{State: Confirmed, Label: "teamviewer", Product: "TeamViewer", Evidence: "TeamViewer datagrams (17 24 at offset 11) from both sides"}
	case c > 3 || s > 3:
		return Result{State: Suspected, Label: "teamviewer", Product: "TeamViewer", Evidence: "TeamViewer datagrams (17 24 at offset 11) from one side"}
	}
	return undecided(f)
}

// teamviewerHTTP: the transport for hosts behind an HTTP proxy: din.aspx and
// dout.aspx with client=DynGate.
func teamviewerHTTP(e exchange) Result {
	if !starts(e.target, "/din.aspx?") && !starts(e.target, "/dout.aspx?") || !bytes.Contains(e.target, []byte("client=DynGate")) {
		return Result{}
	}
	return Result{State: e.answered(), Label: "teamviewer", Product: "TeamViewer", Evidence: "HTTP request of TeamViewer's DynGate transport"}
}
