package protocol

import "math/bits"

// FirstBytes is how much of a TCP stream the cheap tests are shown. They are
// asked again while a side has sent less, so that a first segment of one byte
// hides nothing; a test that wants more bytes than it was given answers false.
const FirstBytes = 64

// maxDetectors is what a mask holds.
const maxDetectors = 128

// mask is a set of detectors by their place in the list.
type mask [maxDetectors / 64]uint64

func (m *mask) set(i int)      { m[i/64] |= 1 << (i % 64) }
func (m *mask) has(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }

// without gives the members of m that are not in n.
func (m mask) without(n mask) mask {
	for i := range m {
		m[i] &^= n[i]
	}
	return m
}

func (m mask) and(n mask) mask {
	for i := range m {
		m[i] &= n[i]
	}
	return m
}

// first gives the lowest member, maxDetectors when there is none.
func (m mask) first() int {
	for i, word := range m {
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return maxDetectors
}

// Engine chooses and asks the detectors of a flow.
//
// The rules:
//
//   - A detector becomes a candidate of the flow when its cheap test passes on
//     the start of a TCP side (asked until FirstBytes have come) or on any of
//     the first MaxDatagrams datagrams of a UDP side, or when the flow's IP
//     protocol is its own. Only candidates are asked to Look, again whenever
//     more has come, until they answer NotThis or Confirmed: then they are
//     finished and never asked again.
//   - The best answer is the flow's: a category before an internal label, then
//     Confirmed before Suspected, then the order of the list. A Suspected
//     answer counts as long as its detector repeats it.
//   - Internal labels (tls, dtls, quic, dns, http) say what ordinary traffic
//     the flow is and carry Facts. Category turns them into "none". A Result
//     without a label says nothing but may have filled Facts.
//   - The flow is decided, and will not be looked at again, when nothing more
//     can come; when a category is Confirmed and no candidate before it in the
//     list and no parser of facts is unfinished; or when no candidate is
//     unfinished and no cheap test is left to ask.
type Engine struct {
	list  []Detector
	tcp   []int // places of the detectors with a TCP test
	udp   []int
	facts mask
	proto [256]mask
}

// EngineState is what the engine remembers of one flow. The zero value is a new
// flow; it holds no pointer into the flow's bytes.
type EngineState struct {
	candidates mask
	finished   mask
	firm       Result // the best of the finished detectors
	firmAt     int
	best       Result
	factsMark  uint32
	asked      [2]int // client, server: bytes or datagrams the cheap tests have seen
	started    bool
}

// Best is the answer so far.
func (s *EngineState) Best() Result { return s.best }

// Idle says whether no candidate is unfinished: only a cheap test of bytes to
// come could still change the answer.
func (s *EngineState) Idle() bool { return s.candidates.without(s.finished) == mask{} }

// NewEngine makes an engine over list, most specific first. More than 128
// detectors do not fit: that is a mistake in the program, and it panics.
func NewEngine(list []Detector) *Engine {
	if len(list) > maxDetectors {
		panic("protocol: more detectors than the engine's mask holds")
	}
	e := &Engine{list: list}
	for i := range list {
		d := &list[i]
		if d.TCP != nil {
			e.tcp = append(e.tcp, i)
		}
		if d.UDP != nil {
			e.udp = append(e.udp, i)
		}
		if d.Proto != 0 {
			e.proto[d.Proto].set(i)
		}
		if d.Facts {
			e.facts.set(i)
		}
	}
	return e
}

// Wants says whether any detector may look at flows of the IP protocol.
func (e *Engine) Wants(proto uint8) bool {
	switch proto {
	case 6:
		return len(e.tcp) > 0
	case 17:
		return len(e.udp) > 0
	}
	return e.proto[proto] != mask{}
}

// Look shows the flow to its candidates. changed says that the answer or the
// facts are other than after the last Look; decided that no later Look can
// change them, so that the flow's bytes may go.
func (e *Engine) Look(s *EngineState, f *Flow) (best Result, changed, decided bool) {
	if !s.started {
		s.started, s.firmAt = true, maxDetectors
		s.candidates = e.proto[f.Proto]
	}
	open := e.choose(s, f)
	before := s.best
	s.best = e.ask(s, f)
	mark := f.Facts.mark()
	changed = s.best != before || mark != s.factsMark
	s.factsMark = mark
	return s.best, changed, f.Closed || e.settled(s, open)
}

// choose runs the cheap tests on what is new and says whether some are still to
// come.
func (e *Engine) choose(s *EngineState, f *Flow) (open bool) {
	switch f.Proto {
	case 6:
		client := e.chooseStream(s, 0, f.Client.Stream)
		server := e.chooseStream(s, 1, f.Server.Stream)
		return client || server
	case 17:
		client := e.chooseDatagrams(s, 0, &f.Client)
		server := e.chooseDatagrams(s, 1, &f.Server)
		return client || server
	}
	return false
}

func (e *Engine) chooseStream(s *EngineState, side int, stream []byte) (open bool) {
	first := stream[:min(len(stream), FirstBytes)]
	if len(first) > s.asked[side] {
		s.asked[side] = len(first)
		for _, i := range e.tcp {
			if !s.candidates.has(i) && e.list[i].TCP(first, side == 0) {
				s.candidates.set(i)
			}
		}
	}
	return len(first) < FirstBytes
}

func (e *Engine) chooseDatagrams(s *EngineState, side int, from *Side) (open bool) {
	for n := s.asked[side]; n < len(from.Datagrams); n++ {
		for _, i := range e.udp {
			if !s.candidates.has(i) && e.list[i].UDP(from.Datagrams[n], from.Lengths[n], side == 0) {
				s.candidates.set(i)
			}
		}
	}
	s.asked[side] = len(from.Datagrams)
	return len(from.Datagrams) < MaxDatagrams
}

// ask lets the unfinished candidates look, in the order of the list, and gives
// the best answer.
func (e *Engine) ask(s *EngineState, f *Flow) Result {
	best, bestAt := s.firm, s.firmAt
	for w, word := range s.candidates.without(s.finished) {
		for ; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			answer := e.list[i].Look(f)
			switch answer.State {
			case NotThis:
				s.finished.set(i)
				continue
			case Confirmed:
				s.finished.set(i)
				if better(&answer, i, &s.firm, s.firmAt) {
					s.firm, s.firmAt = answer, i
				}
			case Suspected:
			default:
				continue
			}
			if better(&answer, i, &best, bestAt) {
				best, bestAt = answer, i
			}
		}
	}
	return best
}

// settled says whether the unfinished candidates can still change the answer.
// open: cheap tests are still to come.
func (e *Engine) settled(s *EngineState, open bool) bool {
	left := s.candidates.without(s.finished)
	if s.firm.State == Confirmed && !Internal(s.firm.Label) {
		return left.first() > s.firmAt && left.and(e.facts) == mask{}
	}
	return !open && left == mask{}
}

func better(a *Result, at int, b *Result, bt int) bool {
	if ai, bi := Internal(a.Label), Internal(b.Label); ai != bi {
		return bi
	}
	if a.State != b.State {
		return a.State > b.State
	}
	return at < bt
}

// Internal says whether label is no category: it names ordinary traffic, or
// nothing.
func Internal(label string) bool {
	switch label {
	case "", "tls", "dtls", "quic", "dns", "http":
		return true
	}
	return false
}

// Category is the label as a category of docs/protocols.md: "none" for internal
// labels.
func Category(label string) string {
	if Internal(label) {
		return "none"
	}
	return label
}

// mark changes when the facts grow. It is cheap, not complete: a parser that
// only rewrites a value it has given goes unseen.
func (f *Facts) mark() uint32 {
	if f == nil {
		return 0
	}
	m := uint32(0)
	add := func(n int) { m = m*31 + uint32(n) + 1 }
	if t := f.TLS; t != nil {
		add(len(t.SNI))
		add(len(t.ALPN))
		add(int(t.Version))
		add(len(t.JA3) + len(t.JA4))
		add(len(t.SelectedALPN))
		add(len(t.Certificates))
		if t.ServerHello {
			add(1)
		}
	}
	if s := f.SSH; s != nil {
		add(len(s.ClientVersion))
		add(len(s.ServerVersion))
		add(len(s.HASSH))
		add(len(s.HASSHServer))
	}
	if h := f.Hidden; h != nil {
		add(len(h.Host))
		add(int(h.Port))
	}
	return m
}
