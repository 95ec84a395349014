package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// ErrFormat means that a file is no capture that can be read.
var ErrFormat = errors.New("neither pcap nor pcapng")

// FileError says where reading a capture stopped. What was read before counts.
type FileError struct {
	Name   string
	Offset int64 // bytes, of the uncompressed file
	Err    error
}

func (e *FileError) Error() string {
	return fmt.Sprintf("read capture %s at offset %d: %v", e.Name, e.Offset, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Frame is one packet of a capture file. Data is valid until the next is read.
type Frame struct {
	Time   time.Time
	Link   Link
	Data   []byte
	Length int // on the wire
}

// format reads the frames of one file format.
type format interface {
	next(*source, *Frame) error
}

// Reader reads a capture file of any format.
type Reader struct {
	name   string
	source source
	format format
	close  func()
}

// Open opens a capture file; "-" is stdin.
func Open(path string, stdin io.Reader) (*Reader, error) {
	if path == "-" {
		return NewReader("stdin", stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open capture: %w", err)
	}
	r, err := NewReader(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	release := r.close
	r.close = func() { release(); f.Close() }
	return r, nil
}

// NewReader reads a capture from r. name is for errors.
func NewReader(name string, r io.Reader) (*Reader, error) {
	plain, release, err := decompress(r)
	if err != nil {
		return nil, &FileError{name, 0, err}
	}
	c := &Reader{name: name, source: source{r: plain}, close: release}
	if c.format, err = c.detect(); err != nil {
		release()
		return nil, c.at(err)
	}
	return c, nil
}

// detect chooses the format by the magic number.
func (r *Reader) detect() (format, error) {
	head, err := r.source.need(4)
	if err == io.EOF {
		return nil, errors.New("empty file")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if binary.BigEndian.Uint32(head) == blockSection {
		return &pcapng{}, nil
	}
	return newPcap(&r.source)
}

// Next gives the next frame into f. io.EOF is the end of a whole file; any other
// error is a *FileError, and nothing comes after it.
func (r *Reader) Next(f *Frame) error {
	err := r.format.next(&r.source, f)
	if err == nil || err == io.EOF {
		return err
	}
	return r.at(err)
}

// Offset is how far the uncompressed file has been read, in bytes.
func (r *Reader) Offset() int64 { return r.source.offset }

// Close releases the file.
func (r *Reader) Close() error {
	r.close()
	return nil
}

func (r *Reader) at(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("truncated: %w", err)
	}
	return &FileError{r.name, r.source.offset, err}
}
