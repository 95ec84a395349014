package rules

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong in a file, where, and what to do about it.
type Fault struct {
	File         string `json:"file"`
	Line, Column int    `json:",omitempty"`
	Message      string `json:"message"`
	Remedy       string `json:"remedy"`
}

// Error prints the fault on one line: file:line:column: message; remedy.
func (p Fault) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	return fmt.Sprintf("%s: %s; %s", where, p.Message, p.Remedy)
}

// Faults is every fault found, one a line.
type Faults []Fault

// Error prints the faults, one a line.
func (p Faults) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// asError returns nil for no faults, so that a nil error stays nil.
func (p Faults) asError() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// defect is a fault before its place in the file is known.
type defect struct {
	path            string // YAML path, "$.indicators[3].value"
	message, remedy string
}
