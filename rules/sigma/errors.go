package sigma

import "fmt"

// Error says where in which file a rule is wrong, or asks for what this package
// refuses.
type Error struct {
	File    string
	Line    int // 1 is the first; 0 when the whole file is meant
	Message string
}

// Error writes file:line: message.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Message)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
}
