package bpf

import "fmt"

// counter is an index of the counters map (enum counter in headers/maps.h).
type counter uint32

const (
	lostRing counter = iota
	lostStorage
	lostFlows
	lostHeader
	droppedPace
	seenPackets
	seenRecords
	seenProcesses
	hookEgress
	hookIngress
	hookConnect4
	hookConnect6
	hookSendmsg4
	hookSendmsg6
	hookRelease
	hookState
	hookDestroy
	hookError
	hookExec
	hookFork
	hookExit
	hookDevice
	hookFiles
	counters
)

// Counters are the kernel side's, by reason, summed over the CPUs.
type Counters struct {
	Lost    map[string]uint64
	Dropped map[string]uint64
	Seen    map[string]uint64
}

// Counters reads the counters.
func (k *Kernel) Counters() (Counters, error) {
	c := Counters{map[string]uint64{}, map[string]uint64{}, map[string]uint64{}}
	for _, row := range []struct {
		to    map[string]uint64
		name  string
		which counter
	}{
		{c.Lost, "ring_full", lostRing},
		{c.Lost, "no_socket_storage", lostStorage},
		{c.Lost, "no_flow_entry", lostFlows},
		{c.Lost, "unreadable_header", lostHeader},
		{c.Dropped, "listener_pace", droppedPace},
		{c.Seen, "packets", seenPackets},
		{c.Seen, "records", seenRecords},
		{c.Seen, "processes", seenProcesses},
	} {
		n, err := k.counter(row.which)
		if err != nil {
			return Counters{}, err
		}
		row.to[row.name] = n
	}
	return c, nil
}

func (k *Kernel) counter(which counter) (uint64, error) {
	var perCPU []uint64
	if err := k.maps[packetMapCounters].Lookup(uint32(which), &perCPU); err != nil {
		return 0, fmt.Errorf("read counter: %w", err)
	}
	var sum uint64
	for _, n := range perCPU {
		sum += n
	}
	return sum, nil
}
