package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Blocks and options of pcapng (draft-ietf-opsawg-pcapng section 4).
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6

	byteOrderMagic = 0x1a2b3c4d

	optionEnd        = 0
	optionComment    = 1
	optionResolution = 9
	optionOffset     = 14

	maxInterfaces = 1 << 16
	maxControl    = 1 << 20 // bytes of a section or interface block
)

// pcapng reads the block format: several sections, interfaces and link types.
type pcapng struct {
	little     bool
	started    bool
	interfaces []networkInterface
}

// networkInterface is what a packet's block refers to.
type networkInterface struct {
	link   Link
	snap   uint32
	unit   uint64 // time stamps a second
	offset int64  // seconds
}

func (p *pcapng) order() binary.ByteOrder {
	if p.little {
		return binary.LittleEndian
	}
	return binary.BigEndian
}

func (p *pcapng) uint32(b []byte) uint32 {
	if p.little {
		return binary.LittleEndian.Uint32(b)
	}
	return binary.BigEndian.Uint32(b)
}

// next goes on to the next block that holds a packet.
func (p *pcapng) next(s *source, f *Frame) error {
	for {
		head, err := s.need(8)
		if err != nil {
			return err
		}
		if binary.BigEndian.Uint32(head) == blockSection {
			if err := p.section(s); err != nil {
				return err
			}
			continue
		}
		if !p.started {
			return ErrFormat
		}
		kind, size := p.uint32(head), p.uint32(head[4:])
		if size < 12 || size%4 != 0 {
			return fmt.Errorf("a block of %d bytes: garbage", size)
		}
		found, err := p.block(s, kind, int(size), f)
		if found || err != nil {
			return err
		}
	}
}

// block reads or passes one block and says whether f holds a packet.
func (p *pcapng) block(s *source, kind uint32, size int, f *Frame) (found bool, err error) {
	limit := maxPacket
	switch kind {
	case blockInterface:
		limit = maxControl
	case blockPacket, blockSimple, blockEnhanced:
	default:
		return false, s.discard(size)
	}
	if size > limit {
		return false, fmt.Errorf("a block of %d bytes: garbage", size)
	}
	whole, err := s.need(size)
	if err != nil {
		return false, unexpected(err)
	}
	if p.uint32(whole[size-4:]) != uint32(size) {
		return false, errors.New("the two lengths of a block differ: garbage")
	}
	body := whole[8 : size-4]
	switch kind {
	case blockInterface:
		err = p.describe(body)
	case blockEnhanced:
		found, err = true, p.enhanced(body, f, false)
	case blockPacket:
		found, err = true, p.enhanced(body, f, true)
	case blockSimple:
		found, err = true, p.simple(body, f)
	}
	if err == nil {
		s.skip(size)
	}
	return found, err
}

// section starts anew: byte order and interfaces.
func (p *pcapng) section(s *source) error {
	head, err := s.need(12)
	if err != nil {
		return unexpected(err)
	}
	switch {
	case binary.LittleEndian.Uint32(head[8:]) == byteOrderMagic:
		p.little = true
	case binary.BigEndian.Uint32(head[8:]) == byteOrderMagic:
		p.little = false
	default:
		return ErrFormat
	}
	size := p.uint32(head[4:])
	if size < 28 || size > maxControl || size%4 != 0 {
		return fmt.Errorf("a section header of %d bytes: garbage", size)
	}
	p.started, p.interfaces = true, p.interfaces[:0]
	return s.discard(int(size))
}

// describe takes an interface block.
func (p *pcapng) describe(body []byte) error {
	if len(body) < 8 {
		return errors.New("an interface block without a link type")
	}
	if len(p.interfaces) == maxInterfaces {
		return errors.New("too many interfaces: garbage")
	}
	n := networkInterface{link: Link(p.order().Uint16(body)), snap: p.uint32(body[4:]), unit: 1e6}
	for options := body[8:]; len(options) >= 4; {
		code, size := p.order().Uint16(options), int(p.order().Uint16(options[2:]))
		if code == optionEnd || 4+size > len(options) {
			break
		}
		value := options[4 : 4+size]
		switch {
		case code == optionResolution && size == 1:
			unit, ok := resolution(value[0])
			if !ok {
				return errors.New("a time resolution that cannot be: garbage")
			}
			n.unit = unit
		case code == optionOffset && size == 8:
			n.offset = int64(p.order().Uint64(value))
		}
		options = options[min(4+(size+3)&^3, len(options)):]
	}
	p.interfaces = append(p.interfaces, n)
	return nil
}

// resolution gives the time stamps a second of if_tsresol: a power of ten, or of
// two with the highest bit.
func resolution(v byte) (uint64, bool) {
	base, power := uint64(10), int(v&0x7f)
	if v&0x80 != 0 {
		base = 2
	}
	unit := uint64(1)
	for range power {
		if unit > 1<<60/base {
			return 0, false
		}
		unit *= base
	}
	return unit, true
}

// enhanced takes an enhanced packet block, or the older one it replaced.
func (p *pcapng) enhanced(body []byte, f *Frame, old bool) error {
	if len(body) < 20 {
		return errors.New("a packet block without its header")
	}
	id := p.uint32(body)
	if old {
		id = uint32(p.order().Uint16(body))
	}
	if int64(id) >= int64(len(p.interfaces)) {
		return fmt.Errorf("a packet of interface %d, which has no block", id)
	}
	size, length := p.uint32(body[12:]), p.uint32(body[16:])
	if int64(size) > int64(len(body)-20) {
		return errors.New("a packet longer than its block")
	}
	n := &p.interfaces[id]
	stamp := uint64(p.uint32(body[4:]))<<32 | uint64(p.uint32(body[8:]))
	if seconds := int64(stamp/n.unit) + n.offset; seconds >= firstSecond && seconds <= lastSecond {
		f.Time = n.time(stamp) // else that of the packet before
	}
	f.Link, f.Data, f.Length = n.link, body[20:20+size], int(min(max(length, size), 1<<30))
	return nil
}

// simple takes a simple packet block: interface 0, no time.
func (p *pcapng) simple(body []byte, f *Frame) error {
	if len(body) < 4 || len(p.interfaces) == 0 {
		return errors.New("a simple packet block without length or interface")
	}
	n := &p.interfaces[0]
	length := p.uint32(body)
	size := min(length, uint32(len(body)-4))
	if n.snap != 0 {
		size = min(size, n.snap)
	}
	f.Link, f.Data, f.Length = n.link, body[4:4+size], int(min(length, 1<<30))
	return nil
}

// The years 1 to 9999: RFC 3339, and so every finding, has no others.
const (
	firstSecond = -62135596800
	lastSecond  = 253402300799
)

func (n *networkInterface) time(stamp uint64) time.Time {
	if n.unit == 1e6 {
		return time.Unix(int64(stamp/1e6)+n.offset, int64(stamp%1e6)*1000)
	}
	rest := stamp % n.unit
	var part uint64
	if n.unit <= 1e9 {
		part = rest * 1e9 / n.unit
	} else {
		part = rest / max(n.unit/1e9, 1)
	}
	return time.Unix(int64(stamp/n.unit)+n.offset, int64(min(part, 999999999)))
}
