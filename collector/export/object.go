package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"time"
)

// object is a JSON object under construction. Its keys are written in order.
type object map[string]any

// put sets a key, unless the value says nothing: receivers index what is there.
func (o object) put(key string, value any) object {
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
		return o
	}
	o[key] = value
	return o
}

// appendTo writes the object as one line.
func (o object) appendTo(dst []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		return dst, fmt.Errorf("write JSON: %w", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// milliseconds since 1970; 0, which put leaves out, for no time.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// stamp is RFC 3339 in UTC; "" for no time.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// day reads a date of the pack, "YYYY-MM-DD".
func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}
	}
	return t
}
