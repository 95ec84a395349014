package hostevidence

import "sallyport/agent/sensor"

// Bounds of the comparison of two series of byte counts.
const (
	maxSteps = 16 // intervals compared
	minMoves = 3  // intervals in which the tunnel must have moved, and the flows with it

	// moves is what an interval must carry to count as movement: a ping is 84
	// bytes.
	moves = 80
	// least is what the tunnel must have carried in all, before anything is said.
	least = 1 << 10
	// A flow carries the tunnel's packets with headers, records and
	// acknowledgements around them: a ping grows about threefold. Compression may
	// halve them.
	most, fewest = 4, 2
	// aside is what a tunnel program may say beside the tunnel in an interval:
	// SoftEther's keepalives carry up to half a kilobyte of padding.
	aside = 768
)

// step is what went by in one interval.
type step struct{ tunnel, flows sensor.Bytes }

// series is the newest steps of the flows to one remote.
type series struct {
	steps []step
	flows int // how many flows there are
}

func (s *series) add(one step) {
	if len(s.steps) == maxSteps {
		copy(s.steps, s.steps[1:])
		s.steps = s.steps[:maxSteps-1]
	}
	s.steps = append(s.steps, one)
}

// sum adds up the steps.
func (s *series) sum() (all step) {
	for _, one := range s.steps {
		all.tunnel.Out += one.tunnel.Out
		all.tunnel.In += one.tunnel.In
		all.flows.Out += one.flows.Out
		all.flows.In += one.flows.In
	}
	return all
}

// verdict is what a comparison shows.
type verdict uint8

const (
	unclear  verdict = iota // too little has moved
	together                // the flows rise and fall with the tunnel
	apart                   // they do not
)

// compare says whether the flows carry the tunnel. Each step is compared by
// movement, which shakes little; sizes are compared over all steps, since the
// two counts are not read at one instant.
func (s *series) compare() verdict {
	moved, still, astray := 0, 0, 0
	for _, one := range s.steps {
		tunnel, flows := one.tunnel.Total(), one.flows.Total()
		switch {
		case tunnel >= moves && flows >= tunnel/(2*fewest):
			moved++
		case tunnel >= moves:
			still++
		case flows > most*tunnel+2*aside:
			astray++
		}
	}
	all := s.sum()
	if moved+still < minMoves || all.tunnel.Total() < least {
		return unclear
	}
	n := uint64(len(s.steps))
	fits := still <= moved/8 && astray <= (moved+1)/4 &&
		within(all.tunnel.Out, all.flows.Out, all.flows.In, n) && within(all.tunnel.In, all.flows.In, all.flows.Out, n)
	if fits {
		return together
	}
	return apart
}

// within says whether one direction of the flows may carry that direction of the
// tunnel. back is the other direction, which is acknowledged: 52 bytes for two
// full segments at most, and more often for small ones.
func within(tunnel, flows, back, steps uint64) bool {
	return flows >= tunnel/fewest && flows <= most*tunnel+aside*steps+back/2
}
