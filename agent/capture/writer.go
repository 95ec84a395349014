package capture

import (
	"encoding/binary"
	"io"
	"time"
)

// Options of the writer's blocks (draft-ietf-opsawg-pcapng sections 4.1, 4.2).
const (
	optionHardware    = 2
	optionSystem      = 3
	optionApplication = 4
	optionName        = 2

	nanoseconds = 9 // if_tsresol
)

// Origin says where evidence comes from.
type Origin struct {
	Hardware    string
	System      string
	Application string
	Interface   string
	Comment     string // of the whole section
	Link        Link
}

// Writer writes one section with one interface as pcapng. The first error stays.
type Writer struct {
	w   io.Writer
	buf []byte
	err error
}

// NewWriter writes the headers.
func NewWriter(w io.Writer, o Origin) (*Writer, error) {
	p := &Writer{w: w}
	p.begin(blockSection)
	p.uint32(byteOrderMagic)
	p.uint16(1) // version 1.0
	p.uint16(0)
	p.uint32(0xffffffff) // the section's length is not given
	p.uint32(0xffffffff)
	p.option(optionComment, o.Comment)
	p.option(optionHardware, o.Hardware)
	p.option(optionSystem, o.System)
	p.option(optionApplication, o.Application)
	p.end()
	p.begin(blockInterface)
	p.uint16(uint16(o.Link))
	p.uint16(0)
	p.uint32(0) // no limit
	p.option(optionName, o.Interface)
	p.option(optionResolution, string([]byte{nanoseconds}))
	p.end()
	return p, p.err
}

// Packet writes a packet. length is its length on the wire; comment may be
// empty.
func (p *Writer) Packet(at time.Time, data []byte, length int, comment string) error {
	p.begin(blockEnhanced)
	p.uint32(0)
	stamp := uint64(at.UnixNano())
	p.uint32(uint32(stamp >> 32))
	p.uint32(uint32(stamp))
	p.uint32(uint32(len(data)))
	p.uint32(uint32(max(length, len(data))))
	p.buf = append(p.buf, data...)
	p.pad()
	p.option(optionComment, comment)
	p.end()
	return p.err
}

func (p *Writer) begin(kind uint32) {
	p.buf = p.buf[:0]
	p.uint32(kind)
	p.uint32(0) // the length, set by end
}

func (p *Writer) end() {
	p.uint32(optionEnd)
	size := uint32(len(p.buf) + 4)
	p.uint32(size)
	binary.LittleEndian.PutUint32(p.buf[4:], size)
	if p.err == nil {
		_, p.err = p.w.Write(p.buf)
	}
}

// maxOption is what an option's 16-bit length can say.
const maxOption = 0xfff0

func (p *Writer) option(code uint16, value string) {
	if value == "" {
		return
	}
	value = value[:min(len(value), maxOption)]
	p.uint16(code)
	p.uint16(uint16(len(value)))
	p.buf = append(p.buf, value...)
	p.pad()
}

func (p *Writer) pad() {
	for len(p.buf)%4 != 0 {
		p.buf = append(p.buf, 0)
	}
}

func (p *Writer) uint16(v uint16) { p.buf = binary.LittleEndian.AppendUint16(p.buf, v) }
func (p *Writer) uint32(v uint32) { p.buf = binary.LittleEndian.AppendUint32(p.buf, v) }
