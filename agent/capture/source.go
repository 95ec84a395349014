package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// bufferSize holds many packets; a packet larger than it makes it grow, up to
// maxPacket.
const (
	bufferSize = 1 << 20
	maxPacket  = 16 << 20 // bytes; a length beyond it is garbage
)

// source reads ahead, so that a packet is given without a copy.
type source struct {
	r        io.Reader
	buf      []byte
	pos, end int
	offset   int64 // of pos, in the uncompressed file
	err      error
}

// need gives the next n bytes, valid until the next call, without going on.
// io.EOF: nothing is left; io.ErrUnexpectedEOF: less than n.
func (s *source) need(n int) ([]byte, error) {
	for s.end-s.pos < n {
		if s.err != nil {
			return s.buf[s.pos:s.end], s.short()
		}
		s.fill(n)
	}
	return s.buf[s.pos : s.pos+n], nil
}

func (s *source) short() error {
	if s.err != io.EOF {
		return s.err
	}
	if s.pos == s.end {
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

func (s *source) fill(n int) {
	if s.pos > 0 {
		s.end = copy(s.buf, s.buf[s.pos:s.end])
		s.pos = 0
	}
	if n > len(s.buf) {
		bigger := make([]byte, max(n, bufferSize))
		copy(bigger, s.buf[:s.end])
		s.buf = bigger
	}
	got, err := s.r.Read(s.buf[s.end:])
	s.end += got
	s.err = err
}

func (s *source) skip(n int) {
	s.pos += n
	s.offset += int64(n)
}

// discard passes n bytes that need not be seen.
func (s *source) discard(n int) error {
	for n > 0 {
		step := min(n, bufferSize)
		if _, err := s.need(step); err != nil {
			s.skip(s.end - s.pos)
			return unexpected(err)
		}
		s.skip(step)
		n -= step
	}
	return nil
}

// unexpected turns an end between two items into an end inside one.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxZstdWindow bounds the memory a zstd file may ask for.
const maxZstdWindow = 128 << 20

// decompress undoes gzip and zstd, told by their magic bytes (RFC 1952, RFC
// 8878). close releases what it holds.
func decompress(r io.Reader) (plain io.Reader, close func(), err error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, fmt.Errorf("read gzip header: %w", err)
		}
		return z, func() { z.Close() }, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("read zstd header: %w", err)
		}
		return z, z.Close, nil
	}
	return b, func() {}, nil
}
