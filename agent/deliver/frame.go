package deliver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"
)

// A frame is one finding on disk:
//
//	mark 4 | length 4 | seq 8 | time 8 | CRC-32C of these 4 | payload | CRC-32C of payload 4
//
// and the payload is the message id's length (2), the message id, and the
// finding's JSON. Integers are big-endian. The header has a checksum of its own,
// so that a length is never believed that was not written.
const (
	headerSize   = 4 + 4 + 8 + 8 + 4
	trailerSize  = 4
	maxMessageID = 1 << 10
)

// mark begins each frame. 0xFF and 0xF5 occur in no UTF-8 text and so in no
// finding: a search for the mark never stops inside a sound payload.
var mark = []byte{0xFF, 0xF5, 'S', 'P'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errTorn    = errors.New("frame ends early")
	errDamaged = errors.New("frame is damaged")
)

// frame is one finding as it lies in a segment.
type frame struct {
	seq     uint64
	time    time.Time // of appending
	id      string    // rules.Finding.MessageID
	finding []byte    // JSON; shares memory with what it was decoded from
}

// frameSize is the size on disk of a finding.
func frameSize(id string, finding []byte) int64 {
	return int64(headerSize + 2 + len(id) + len(finding) + trailerSize)
}

// appendFrame adds the encoded frame to b.
func appendFrame(b []byte, f frame) []byte {
	start := len(b)
	b = append(b, mark...)
	b = binary.BigEndian.AppendUint32(b, uint32(2+len(f.id)+len(f.finding)))
	b = binary.BigEndian.AppendUint64(b, f.seq)
	b = binary.BigEndian.AppendUint64(b, uint64(f.time.UnixNano()))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	payload := len(b)
	b = binary.BigEndian.AppendUint16(b, uint16(len(f.id)))
	b = append(b, f.id...)
	b = append(b, f.finding...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[payload:], castagnoli))
}

// header is the fixed part of a frame.
type header struct {
	payload int
	seq     uint64
	time    time.Time
}

// decodeHeader reads the header at the start of b. errTorn means that b is too
// short to say; a zero mark is torn as well, since a file that grew before a
// power cut is filled with zeros.
func decodeHeader(b []byte) (header, error) {
	if len(b) < headerSize {
		if bytes.HasPrefix(mark, b[:min(len(b), len(mark))]) || len(b) > len(mark) && bytes.HasPrefix(b, mark) || allZero(b) {
			return header{}, errTorn
		}
		return header{}, errDamaged
	}
	sum := binary.BigEndian.Uint32(b[headerSize-4:])
	if !bytes.HasPrefix(b, mark) || crc32.Checksum(b[:headerSize-4], castagnoli) != sum {
		if allZero(b) {
			return header{}, errTorn
		}
		return header{}, errDamaged
	}
	return header{
		payload: int(binary.BigEndian.Uint32(b[4:])),
		seq:     binary.BigEndian.Uint64(b[8:]),
		time:    time.Unix(0, int64(binary.BigEndian.Uint64(b[16:]))).UTC(),
	}, nil
}

// decodeFrame reads the frame at the start of b and says how long it is.
func decodeFrame(b []byte) (frame, int, error) {
	h, err := decodeHeader(b)
	if err != nil {
		return frame{}, 0, err
	}
	end := headerSize + h.payload + trailerSize
	if h.payload < 2 || end < 0 {
		return frame{}, 0, errDamaged
	}
	if len(b) < end {
		return frame{}, 0, errTorn
	}
	payload := b[headerSize : headerSize+h.payload]
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(b[headerSize+h.payload:]) {
		return frame{}, 0, errDamaged
	}
	n := int(binary.BigEndian.Uint16(payload))
	if 2+n > len(payload) {
		return frame{}, 0, errDamaged
	}
	return frame{seq: h.seq, time: h.time, id: string(payload[2 : 2+n]), finding: payload[2+n:]}, end, nil
}

// nextFrame finds the first sound frame in b. skipped is how many bytes before it are
// damaged; size is 0 where there is no further sound frame, and then torn says
// that the rest is only a write that never ended.
func nextFrame(b []byte) (f frame, skipped, size int, torn bool) {
	for skipped < len(b) {
		f, size, err := decodeFrame(b[skipped:])
		if err == nil {
			return f, skipped, size, false
		}
		// What looks torn is the end only if nothing sound follows.
		next := bytes.Index(b[skipped+1:], mark)
		if next < 0 {
			return frame{}, skipped, 0, errors.Is(err, errTorn)
		}
		skipped += 1 + next
	}
	return frame{}, skipped, 0, false
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
