package protocol

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// ja3 is the MD5 of version, ciphers, extensions, groups and point formats, in
// decimal, without GREASE (salesforce/ja3 README).
func (h *clientHello) ja3() string {
	text := make([]byte, 0, 512)
	text = strconv.AppendInt(text, int64(h.version), 10)
	text = appendDecimals(append(text, ','), h.ciphers)
	text = append(text, ',')
	walk, first := h.walk(), true
	for {
		kind, _, ok := walk.next()
		if !ok {
			break
		}
		if grease(kind) {
			continue
		}
		if !first {
			text = append(text, '-')
		}
		first = false
		text = strconv.AppendInt(text, int64(kind), 10)
	}
	text = appendDecimals(append(text, ','), h.list(extGroups, 2))
	text = append(text, ',')
	for i, format := range h.list(extPointFormats, 1) {
		if i > 0 {
			text = append(text, '-')
		}
		text = strconv.AppendInt(text, int64(format), 10)
	}
	sum := md5.Sum(text)
	return hex.EncodeToString(sum[:])
}

// appendDecimals writes 16-bit values in decimal, joined by dashes, without
// GREASE.
func appendDecimals(text, list []byte) []byte {
	for i, v := range words(list) {
		if i > 0 {
			text = append(text, '-')
		}
		text = strconv.AppendInt(text, int64(v), 10)
	}
	return text
}

// words gives 16-bit values without GREASE.
func words(list []byte) []int {
	out := make([]int, 0, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		if v := int(list[i])<<8 | int(list[i+1]); !grease(v) {
			out = append(out, v)
		}
	}
	return out
}

// ja4 is the TLS client fingerprint of FoxIO-LLC/ja4,
// technical_details/JA4.md (BSD-3-Clause).
func (h *clientHello) ja4(form helloForm) string {
	ciphers := words(h.ciphers)
	var kinds []int
	count, named := 0, false
	for walk := h.walk(); ; {
		kind, _, ok := walk.next()
		if !ok {
			break
		}
		if grease(kind) {
			continue
		}
		count++
		named = named || kind == extServerName
		if kind != extServerName && kind != extALPN {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(ciphers)
	slices.Sort(kinds)
	text := make([]byte, 0, 40)
	text = append(text, "tdq"[form])
	text = append(text, ja4Version(h.highest())...)
	if named {
		text = append(text, 'd')
	} else {
		text = append(text, 'i')
	}
	text = appendCount(appendCount(text, len(ciphers)), count)
	text = appendALPN(text, h.list(extALPN, 2))
	text = append(append(text, '_'), ja4Hash(appendHex(nil, ciphers))...)
	list := appendHex(nil, kinds)
	if signatures := words(h.list(extSignatures, 2)); len(signatures) > 0 && count > 0 {
		list = appendHex(append(list, '_'), signatures)
	}
	return string(append(append(text, '_'), ja4Hash(list)...))
}

func ja4Version(v int) string {
	switch v {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

func appendCount(text []byte, n int) []byte {
	n = min(n, 99)
	return append(text, byte('0'+n/10), byte('0'+n%10))
}

// appendALPN writes the first and the last character of the first ALPN value,
// of its hexadecimal form where either is not alphanumeric.
func appendALPN(text, list []byte) []byte {
	c := newCursor(list)
	name := c.vector(1)
	if len(name) == 0 {
		return append(text, "00"...)
	}
	first, last := name[0], name[len(name)-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		const digits = "0123456789abcdef"
		first, last = digits[first>>4], digits[last&15]
	}
	return append(text, first, last)
}

func alphanumeric(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}

// appendHex writes 4-digit hexadecimal values joined by commas.
func appendHex(text []byte, values []int) []byte {
	for i, v := range values {
		if i > 0 {
			text = append(text, ',')
		}
		text = hex.AppendEncode(text, []byte{byte(v >> 8), byte(v)})
	}
	return text
}

// ja4Hash is the first 12 digits of the SHA-256, zeros for an empty list.
func ja4Hash(list []byte) string {
	if len(list) == 0 {
		return "000000000000"
	}
	sum := sha256.Sum256(list)
	return hex.EncodeToString(sum[:6])
}
