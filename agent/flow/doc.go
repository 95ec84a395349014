// Package flow holds the flow table: it joins packets and the kernel's own
// records to flows, keeps the first bytes of both directions in order and
// bounded, and asks the detectors until a flow is decided. From then on a
// packet of the flow costs only counters. It touches no file and no socket.
package flow
