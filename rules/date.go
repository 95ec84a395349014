package rules

import (
	"fmt"
	"time"
)

// Date is a day, a month or a year as its source gives it: "2024-09-18",
// "2025-11", "2026". The empty date is unknown. A date is never made more
// precise than its source.
type Date string

var dateLayouts = []string{time.DateOnly, "2006-01", "2006"}

// span returns the first instant of the date and the first instant after it.
func (d Date) span() (time.Time, time.Time, error) {
	for i, layout := range dateLayouts {
		if len(d) != len(layout) {
			continue
		}
		start, err := time.Parse(layout, string(d))
		if err != nil {
			break
		}
		steps := [][3]int{{0, 0, 1}, {0, 1, 0}, {1, 0, 0}}[i]
		return start, start.AddDate(steps[0], steps[1], steps[2]), nil
	}
	return time.Time{}, time.Time{}, fmt.Errorf("%q is no date", string(d))
}

// Start is the first instant of the date in UTC, zero when unknown.
func (d Date) Start() time.Time {
	start, _, err := d.span()
	if err != nil {
		return time.Time{}
	}
	return start
}

// End is the first instant after the date in UTC, zero when unknown.
func (d Date) End() time.Time {
	_, end, err := d.span()
	if err != nil {
		return time.Time{}
	}
	return end
}

// Known says whether the date holds a readable date.
func (d Date) Known() bool {
	_, _, err := d.span()
	return err == nil
}

// later returns the date that ends later; an unknown date loses.
func later(a, b Date) Date {
	if b.End().After(a.End()) {
		return b
	}
	return a
}

// earlier returns the date that starts earlier; an unknown date loses.
func earlier(a, b Date) Date {
	if !a.Known() || (b.Known() && b.Start().Before(a.Start())) {
		return b
	}
	return a
}
