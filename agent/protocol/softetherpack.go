package protocol

import "encoding/binary"

// Bounds of a PACK (SoftEtherVPN, src/Mayaqua/Pack.h): big-endian counts and
// sizes; a name's size counts one byte more than it has.
const (
	packElements = 64
	packName     = 64
	packValues   = 64

	packInt     = 0
	packData    = 1
	packString  = 2
	packUnicode = 3
	packInt64   = 4
)

// softEtherPack reads a PACK that fills b to its end, and its "opcode". ok is
// false for all else.
func softEtherPack(b []byte) (opcode []byte, ok bool) {
	c := newCursor(b)
	n := c.uint(4)
	if n < 1 || n > packElements {
		return nil, false
	}
	for range n {
		name := c.take(packNameSize(&c))
		kind, values := c.uint(4), c.uint(4)
		if !c.ok || !packNameSound(name) || values < 1 || values > packValues {
			return nil, false
		}
		for range values {
			value, sound := packValue(&c, kind)
			if !sound {
				return nil, false
			}
			if kind == packString && string(name) == "opcode" {
				opcode = value
			}
		}
	}
	return opcode, c.ok && len(c.b) == 0
}

func packNameSize(c *cursor) int {
	n := c.uint(4) - 1
	if n < 1 || n > packName {
		c.ok = false
	}
	return n
}

func packNameSound(name []byte) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '@' {
			return false
		}
	}
	return len(name) > 0
}

func packValue(c *cursor, kind int) (value []byte, ok bool) {
	switch kind {
	case packInt:
		c.take(4)
	case packInt64:
		c.take(8)
	case packData, packString, packUnicode:
		value = c.take(c.uint(4))
	default:
		return nil, false
	}
	return value, c.ok
}

// softEtherPackStart is the cheap test: a small count, and a first name's size.
func softEtherPackStart(b []byte) bool {
	if len(b) < 20 {
		return false
	}
	n, size := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return n >= 1 && n <= packElements && size >= 2 && size <= packName+1 && packNameSound(b[8:min(len(b), 7+int(size))])
}
