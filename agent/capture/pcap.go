package capture

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Magic numbers of pcap (draft-ietf-opsawg-pcap section 4), and of the variant
// with a longer record header that some old kernels' patches wrote.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34
)

// pcap reads the classic format.
type pcap struct {
	order  binary.ByteOrder
	little bool
	nano   bool
	header int // bytes before a packet
	link   Link
}

func newPcap(s *source) (*pcap, error) {
	head, err := s.need(4)
	if err != nil {
		return nil, unexpected(err)
	}
	p := &pcap{header: 16}
	little, big := binary.LittleEndian.Uint32(head), binary.BigEndian.Uint32(head)
	magic := big
	p.order = binary.BigEndian
	if known(little) {
		magic, p.order, p.little = little, binary.LittleEndian, true
	} else if !known(big) {
		return nil, ErrFormat
	}
	p.nano = magic == magicNano
	if magic == magicModified {
		p.header = 24
	}
	if head, err = s.need(24); err != nil {
		return nil, unexpected(err)
	}
	p.link = Link(p.order.Uint32(head[20:]) & 0x0fffffff) // the rest is the length of an FCS
	s.skip(24)
	return p, nil
}

func known(magic uint32) bool {
	return magic == magicMicro || magic == magicNano || magic == magicModified
}

// uint32 is faster than the interface's call.
func (p *pcap) uint32(b []byte) uint32 {
	if p.little {
		return binary.LittleEndian.Uint32(b)
	}
	return binary.BigEndian.Uint32(b)
}

func (p *pcap) next(s *source, f *Frame) error {
	head, err := s.need(p.header)
	if err != nil {
		return err
	}
	seconds, part := p.uint32(head), int64(p.uint32(head[4:]))
	size, length := p.uint32(head[8:]), p.uint32(head[12:])
	if size > maxPacket {
		return fmt.Errorf("a packet of %d bytes: garbage, or not a capture", size)
	}
	whole, err := s.need(p.header + int(size))
	if err != nil {
		return unexpected(err)
	}
	if !p.nano {
		part *= int64(time.Microsecond)
	}
	f.Time = time.Unix(int64(seconds), part)
	f.Link, f.Data, f.Length = p.link, whole[p.header:], int(min(max(length, size), 1<<30))
	s.skip(len(whole))
	return nil
}
