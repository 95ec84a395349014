package flow

import "sallyport/agent/sensor"

// A UDP server may hear a client first on the socket that hears everyone, and
// then give it a socket of its own, connected to it: the same one, which it
// replaces, or another (ocserv does for DTLS, and QUIC servers do). The kernel
// counts two flows; it is one, and who opened it has not changed.

// movesTo says whether the flow of an unconnected socket goes on in the connected
// socket that is found under its tuple.
func movesTo(f *Flow, key sensor.FlowKey) bool {
	return f.Key.Remote.IsValid() && !key.Remote.IsValid()
}

// move gives a flow to the socket it goes on in, whose counts begin at zero.
func (t *Table) move(f *Flow, key sensor.FlowKey) {
	delete(t.byKey, f.Key)
	f.Key = key
	t.byKey[key] = f
	f.before, f.moved = f.Reported, true
}

// with adds the counts of a record.
func (r Reported) with(n *sensor.FlowRecord) Reported {
	return Reported{true, r.PacketsOut + n.PacketsOut, r.PacketsIn + n.PacketsIn, r.BytesOut + n.BytesOut, r.BytesIn + n.BytesIn}
}

func (r Reported) packets() uint64 { return r.PacketsOut + r.PacketsIn }
