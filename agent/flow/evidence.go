package flow

import (
	"time"

	"sallyport/agent/capture"
	"sallyport/agent/protocol"
)

// EvidencePacket is one of the first packets of a flow.
type EvidencePacket struct {
	Time       time.Time
	FromClient bool
	Data       []byte // from the IP header on, cut to headers unless it is handshake
	Length     int    // on the wire
}

// evidence holds the first packets of one flow in one arena.
type evidence struct {
	arena    []byte
	kept     []keptPacket
	content  bool // payload may be shown
	withheld bool // payload was cut
	next     *evidence
}

type keptPacket struct {
	at             time.Time
	fromClient     bool
	from, headers  int // offsets into the arena: headers is where the payload begins
	to, wireLength int
}

// Evidence gives copies of the first packets kept. Where content is not asked
// for, payload is cut from protocols whose first bytes are content (a DNS name,
// an HTTP request) or may carry a secret (the password of SOCKS, RFC 1929), and
// as long as nothing has said that they are a handshake; withheld says so.
func (f *Flow) Evidence() (packets []EvidencePacket, withheld bool) {
	e := f.evidence
	if e == nil {
		return nil, false
	}
	withheld = e.withheld
	for _, k := range e.kept {
		if to := k.headers; !e.content && !handshake(f.Result.Label) && to < k.to {
			k.to, withheld = to, true
		}
		data := append([]byte(nil), e.arena[k.from:k.to]...)
		packets = append(packets, EvidencePacket{k.at, k.fromClient, data, k.wireLength})
	}
	return packets, withheld
}

// keepPacket keeps p when the flow's evidence has room. Payload is kept while
// the flow is undecided, for that is handshake; later only with Content.
func (t *Table) keepPacket(f *Flow, p *capture.Packet) {
	limit := &t.cfg.Evidence
	if limit.Packets == 0 || len(p.Data) == 0 {
		return
	}
	e := f.evidence
	if e == nil {
		e = t.takeEvidence()
		e.content = limit.Content
		f.evidence = e
	}
	if len(e.kept) >= limit.Packets {
		return
	}
	headers := len(p.Data) - len(p.Payload)
	data := p.Data
	if f.decided && !limit.Content {
		data = data[:headers]
		e.withheld = e.withheld || len(p.Payload) > 0
	}
	if len(e.arena)+len(data) > limit.Bytes || t.bytes+len(data) > t.cfg.MaxBytes {
		return
	}
	t.bytes += len(data)
	from := len(e.arena)
	e.arena = append(e.arena, data...)
	e.kept = append(e.kept, keptPacket{
		p.Time, p.Src == f.Client, from, from + headers, len(e.arena), p.Length,
	})
}

// handshake says whether the first bytes of the protocol are a handshake that
// shows no content.
func handshake(label string) bool {
	switch label {
	case "tls", "dtls", "quic":
		return true
	case "socks":
		return false
	}
	return !protocol.Internal(label)
}

func (t *Table) takeEvidence() *evidence {
	e := t.freeEvidence
	if e == nil {
		return &evidence{}
	}
	t.freeEvidence, e.next = e.next, nil
	t.idleEvidence--
	return e
}

func (t *Table) dropEvidence(f *Flow) {
	e := f.evidence
	if e == nil {
		return
	}
	f.evidence = nil
	t.bytes -= len(e.arena)
	e.arena, e.kept, e.withheld = e.arena[:0], e.kept[:0], false
	if t.idleEvidence < maxIdleLooks {
		e.next, t.freeEvidence = t.freeEvidence, e
		t.idleEvidence++
	}
}
