package protocol

// otherRemote is the category of remote access products that have none of
// their own. Product names them.
const otherRemote = "other-remote-access"

// greeting is a product that starts its streams with a fixed text.
type greeting struct {
	product        string
	client, server string // what each side starts with
	check          func([]byte) bool
	what           string
}

// greetings gives them: Citrix ICA and CGP (nDPI citrix.c); NoMachine's banners
// (nDPI nomachine.c); Radmin 3 (nDPI radmin.c: version 1, big-endian
// length, check sum, command 8); SPICE (spice-protocol spice/protocol.h
// SPICE_MAGIC and SPICE_VERSION_MAJOR); Guacamole (its protocol reference:
// select is the first instruction, args its answer); DameWare Mini Remote
// Control (message type 4400, then a version as a double: as published, not
// checked against the product).
func greetings() [7]greeting {
	return [...]greeting{
		{"Citrix ICA", "\x7f\x7fICA\x00", "\x7f\x7fICA\x00", nil, "ICA greeting"},
		{"Citrix CGP", "\x1aCGP/01", "\x1aCGP/01", nil, "CGP greeting"},
		{"NoMachine", "NXSH-", "NXD-", nxBanner, "NX banner"},
		{"Radmin", "\x01\x00\x00\x00\x01\x00\x00\x00\x08\x08", "\x01\x00\x00\x00\x25\x00\x00", radminCommand, "Radmin 3 greeting"},
		{"SPICE", "REDQ\x02\x00\x00\x00", "REDQ\x02\x00\x00\x00", nil, "SPICE link message"},
		{"Apache Guacamole", "6.select,", "4.args,", nil, "Guacamole instruction"},
		{"DameWare Mini Remote Control", "\x30\x11\x00\x00\x00\x00\x00\x00", "\x30\x11\x00\x00\x00\x00\x00\x00", damewareVersion, "DameWare version message"},
	}
}

// otherRemoteAccess recognises the products above.
func otherRemoteAccess() Detector {
	table := greetings()
	return Detector{
		Name: otherRemote,
		Doc: Doc{
			How: "the fixed start of NoMachine (TCP and UDP), Citrix ICA and CGP, Radmin 3, SPICE, Guacamole and DameWare; " +
				"in plain HTTP NetSupport Manager and MeshCentral; over TLS the names of relays of ScreenConnect, Splashtop, LogMeIn and others",
			Confirms: "the start from both sides",
			Limits:   "products that use TLS or WebRTC from the first byte show at most a name",
			Source:   "nDPI src/lib/protocols/{citrix,nomachine,radmin}.c; spice-protocol spice/protocol.h; Guacamole protocol reference; DameWare by what was published of it, not checked against the product",
		},
		TCP: func(first []byte, fromClient bool) bool {
			for i := range table {
				if g := &table[i]; len(first) > 0 && (first[0] == g.client[0] && starts(first, g.client) || first[0] == g.server[0] && starts(first, g.server)) {
					return true
				}
			}
			return false
		},
		UDP:  func(first []byte, length int, _ bool) bool { return nxDatagram(first, length) },
		Look: func(f *Flow) Result { return lookOtherRemote(f, table[:]) },
	}
}

func lookOtherRemote(f *Flow, table []greeting) Result {
	if f.Proto == 17 {
		return lookNX(f)
	}
	for i := range table {
		g := &table[i]
		c, s := g.matches(f.Client.Stream, f.Server.Stream)
		if !c && !s { // a capture that began with the server's greeting
			s, c = g.matches(f.Server.Stream, f.Client.Stream)
		}
		answer := Result{State: sidesAgree(c, s), Label: otherRemote, Product: g.product}
		switch answer.State {
		case Confirmed:
			answer.Evidence = g.what + " from both sides"
			return answer
		case Suspected:
			answer.Evidence = g.what + " from one side"
			return answer
		}
	}
	return undecided(f)
}

func (g *greeting) matches(client, server []byte) (c, s bool) {
	c = starts(client, g.client) && (g.check == nil || g.check(client))
	s = starts(server, g.server) && (g.check == nil || g.check(server))
	return c, s
}

// nxBanner reads NXSH-7.0.0 or NXD-7.0.0 and a line feed.
func nxBanner(b []byte) bool {
	for i, c := range b[:min(len(b), 20)] {
		switch {
		case c == '\n':
			return i >= 8
		case i > 4 && c != '.' && (c < '0' || c > '9') && c != '\r':
			return false
		}
	}
	return false
}

// radminCommand wants the command 8 behind length and check sum.
func radminCommand(b []byte) bool { return len(b) >= 10 && b[9] == 8 }

// damewareVersion wants a double of 1 to 32 at offset 8.
func damewareVersion(b []byte) bool {
	return len(b) >= 40 && b[15] == 0x40 && b[14] < 0x40 || len(b) >= 40 && b[15] == 0x3f && b[14] >= 0xf0
}

// nxDatagram reads the head of NoMachine's UDP: little-endian words, 1 at
// offset 2, the length at offset 4, 0 at offset 8 (nDPI nomachine.c).
func nxDatagram(b []byte, length int) bool {
	return len(b) >= 10 && b[2] == 1 && b[3] == 0 && int(b[4])|int(b[5])<<8 == length && b[8] == 0 && b[9] == 0
}

func lookNX(f *Flow) Result {
	count := func(s *Side) (n int) {
		for i, d := range s.Datagrams {
			if nxDatagram(d, s.Lengths[i]) {
				n++
			}
		}
		return n
	}
	c, s := count(&f.Client), count(&f.Server)
	all := c == len(f.Client.Datagrams) && s == len(f.Server.Datagrams)
	answer := Result{Label: otherRemote, Product: "NoMachine"}
	switch {
	case all && c > 0 && s > 0 && c+s > 2:
		answer.State, answer.Evidence = Confirmed, "NoMachine datagrams from both sides"
	case all && c+s > 3:
		answer.State, answer.Evidence = Suspected, "NoMachine datagrams from one side"
	default:
		return undecided(f)
	}
	return answer
}
