package deliver

import "time"

// Kinds of Event.
const (
	EventCorrupt    = "corrupt"         // a part of the spool cannot be read
	EventGivenUp    = "given_up"        // findings were removed undelivered: a bound was reached
	EventDiskFull   = "disk_full"       // findings cannot be written
	EventDiskWrites = "disk_writes"     // they can again
	EventParked     = "parked"          // the collector refused findings for good
	EventRefused    = "refused"         // the collector refuses this agent: revoked, expired
	EventClock      = "clock"           // this host's clock and the collector's differ
	EventRenewal    = "renewal_failing" // the certificate runs out soon and is not renewed
)

// maxEvents bounds what waits to be taken from Events.
const maxEvents = 64

// Event is what the spool or its delivery has to report of itself. The agent
// makes a finding of it.
type Event struct {
	Kind     string
	Detail   string // for a person
	Findings uint64 // how many are concerned; 0 unknown or none
	Bytes    int64
	At       time.Time
}

// report queues an event. When nobody takes events the oldest goes, and is
// counted.
func (s *Spool) report(e Event) {
	e.At = time.Now().UTC()
	s.log.Warn("spool event", "kind", e.Kind, "detail", e.Detail, "findings", e.Findings, "bytes", e.Bytes)
	for {
		select {
		case s.events <- e:
			return
		default:
		}
		select {
		case <-s.events:
			s.count("event_not_taken", 1)
		default:
		}
	}
}

// Events gives what the spool and its delivery report of themselves, those of
// Open among them.
func (s *Spool) Events() <-chan Event { return s.events }

func (s *Spool) count(reason string, n uint64) {
	if n == 0 {
		return
	}
	s.countMu.Lock()
	s.dropped[reason] += n
	s.countMu.Unlock()
}

// Dropped counts findings given up since Open, by reason: "spool_full",
// "spool_age", "spool_corrupt", "parked_full"; and events nobody took.
func (s *Spool) Dropped() map[string]uint64 {
	s.countMu.Lock()
	defer s.countMu.Unlock()
	out := make(map[string]uint64, len(s.dropped))
	for k, v := range s.dropped {
		out[k] = v
	}
	return out
}
