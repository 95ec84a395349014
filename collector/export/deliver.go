package export

import (
	"context"
	"errors"
)

// line is one item as it is sent.
type line struct {
	index int // in the batch
	item  *Item
	text  []byte
}

// permanent is an error that sending again cannot mend: the receiver has read
// the request and refuses what is in it.
type permanent struct{ reason string }

func (p *permanent) Error() string { return p.reason }

// sending makes one request of some lines. It returns what the receiver refused
// of them, or an error: *permanent for all of them, any other to try again later.
type sending func(ctx context.Context, lines []line) ([]RefusedItem, error)

// deliver writes the items in the format, sends them in requests of about
// maxBytes, and returns what Exporter.Export must.
func deliver(ctx context.Context, format Format, items []Item, maxBytes int, send sending) error {
	lines, refused := encode(format, items)
	for _, part := range split(lines, maxBytes) {
		more, err := isolate(ctx, part, send)
		if err != nil {
			return err
		}
		refused = append(refused, more...)
	}
	if len(refused) > 0 {
		return &Refused{refused}
	}
	return nil
}

// encode writes the items, and says which cannot be written.
func encode(format Format, items []Item) ([]line, []RefusedItem) {
	var lines []line
	var refused []RefusedItem
	for i := range items {
		text, err := format.Append(nil, &items[i])
		if err != nil {
			refused = append(refused, RefusedItem{i, err.Error()})
			continue
		}
		lines = append(lines, line{i, &items[i], text})
	}
	return lines, refused
}

// split cuts the lines into parts of at most maxBytes; one that is longer stands
// alone, and the receiver decides.
func split(lines []line, maxBytes int) [][]line {
	var parts [][]line
	size, from := 0, 0
	for i, l := range lines {
		if i > from && size+len(l.text) > maxBytes {
			parts = append(parts, lines[from:i])
			size, from = 0, i
		}
		size += len(l.text)
	}
	if from < len(lines) {
		parts = append(parts, lines[from:])
	}
	return parts
}

// isolate sends the lines and, where the receiver refuses them as a whole, halves
// them until what it refuses stands alone. What it took on the way may reach it
// again: id and revision tell.
func isolate(ctx context.Context, lines []line, send sending) ([]RefusedItem, error) {
	refused, err := send(ctx, lines)
	var p *permanent
	if !errors.As(err, &p) {
		return refused, err
	}
	if len(lines) == 1 {
		return []RefusedItem{{lines[0].index, p.reason}}, nil
	}
	half := len(lines) / 2
	first, err := isolate(ctx, lines[:half], send)
	if err != nil {
		return nil, err
	}
	second, err := isolate(ctx, lines[half:], send)
	if err != nil {
		return nil, err
	}
	return append(first, second...), nil
}
