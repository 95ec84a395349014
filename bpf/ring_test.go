package bpf

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// memory is a ring whose kernel side the test plays.
type memory struct {
	*ring
	produced uint64
}

func newMemory(size int) *memory {
	m := &memory{}
	m.ring = &ring{data: make([]byte, size), consumed: new(uint64), produced: &m.produced, mapped: [2][]byte{{}, {}}}
	return m
}

// put writes a record as the kernel does, byte by byte around the end.
func (m *memory) put(flags uint32, text string) {
	head := make([]byte, recordHeader)
	binary.NativeEndian.PutUint32(head, uint32(len(text))|flags)
	for i, b := range append(head, text...) {
		m.data[(m.produced+uint64(i))%uint64(len(m.data))] = b
	}
	m.produced += (recordHeader + uint64(len(text)) + 7) &^ 7
}

func (m *memory) take() (out []string) {
	m.drain(func(b []byte) { out = append(out, string(b)) })
	return out
}

func TestRingGivesRecordsInOrder(t *testing.T) {
	m := newMemory(64)
	m.put(0, "one")
	m.put(recordGiven, "given up")
	m.put(0, "exactly8")
	if diff := cmp.Diff([]string{"one", "exactly8"}, m.take()); diff != "" {
		t.Error(diff)
	}
	if *m.consumed != m.produced {
		t.Errorf("consumed %d of %d", *m.consumed, m.produced)
	}
	if m.take() != nil {
		t.Error("an empty ring gave something")
	}
}

func TestRingStopsAtAnUnfinishedRecord(t *testing.T) {
	m := newMemory(64)
	m.put(0, "one")
	at := m.produced
	m.put(recordBusy, "two")
	m.put(0, "three")
	if diff := cmp.Diff([]string{"one"}, m.take()); diff != "" {
		t.Error(diff)
	}
	binary.NativeEndian.PutUint32(m.data[at:], 3)
	if diff := cmp.Diff([]string{"two", "three"}, m.take()); diff != "" {
		t.Error(diff)
	}
}

// Records that go over the end come whole, whatever their length and place.
func TestRingGoesRound(t *testing.T) {
	m := newMemory(64)
	const letters = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
	for i := range 500 {
		text := letters[:i%49]
		m.put(0, text)
		if diff := cmp.Diff([]string{text}, m.take()); diff != "" {
			t.Fatalf("record %d: %s", i, diff)
		}
	}
}
