package sigma

import (
	"iter"
	"net/netip"
	"strconv"
)

// Kind is the type of a Value.
type Kind uint8

// Kinds of a Value.
const (
	Null Kind = iota // the field is there and empty of meaning, as SQL's NULL
	Text
	Number
	Bool
	IP
	List
)

// Value is the content of one field of an event.
type Value struct {
	Kind Kind
	Text string
	Num  float64 // exact for whole numbers up to 2^53
	Bool bool
	Addr netip.Addr
	List []string // a condition on the field holds when it holds for one element
}

// Event is what a rule is matched against.
type Event interface {
	// Field returns the value of a field, and false when the event has none.
	Field(name string) (Value, bool)
	// Keywords yields every text of the event, for keyword searches.
	Keywords() iter.Seq[string]
}

// TextValue returns a text value.
func TextValue(s string) Value { return Value{Kind: Text, Text: s} }

// NumberValue returns a number.
func NumberValue(n float64) Value { return Value{Kind: Number, Num: n} }

// BoolValue returns a boolean.
func BoolValue(b bool) Value { return Value{Kind: Bool, Bool: b} }

// IPValue returns an address. IPv4 in IPv6 form becomes IPv4.
func IPValue(a netip.Addr) Value { return Value{Kind: IP, Addr: a.Unmap()} }

// ListValue returns a value of many texts.
func ListValue(l []string) Value { return Value{Kind: List, List: l} }

// String writes the value as text patterns see it. A list has no one text.
func (v Value) String() string {
	switch v.Kind {
	case Text:
		return v.Text
	case Number:
		return strconv.FormatFloat(v.Num, 'f', -1, 64)
	case Bool:
		return strconv.FormatBool(v.Bool)
	case IP:
		return v.Addr.String()
	}
	return ""
}
