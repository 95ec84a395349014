package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// statement is one that takes many rows at a time: PostgreSQL is asked once for
// all of them, and not once each.
type statement struct{ head, row, tail string }

// tuple is a row of n parameters.
func tuple(n int) string { return "(?" + strings.Repeat(", ?", n-1) + ")" }

func (s statement) text(rows int) string {
	return s.head + s.row + strings.Repeat(", "+s.row, rows-1) + s.tail
}

// rowSteps are how many rows go into a statement. They are few, so that the
// driver of PostgreSQL has prepared them all after a while.
var rowSteps = [...]int{64, 16, 4, 1}

// maxRowBytes bounds what goes into a statement of more than one row: evidence
// may be megabytes a row.
const maxRowBytes = 4 << 20

// step is how many of the rows go next.
func step(rows [][]any) int {
	for _, n := range rowSteps {
		if n <= len(rows) && rowBytes(rows[:n]) <= maxRowBytes {
			return n
		}
	}
	return 1
}

func rowBytes(rows [][]any) int {
	n := 0
	for _, row := range rows {
		for _, x := range row {
			switch x := x.(type) {
			case string:
				n += len(x)
			case []byte:
				n += len(x)
			}
		}
	}
	return n
}

// bulk runs statements for many rows in a transaction.
type bulk struct {
	ctx     context.Context // of the transaction; a bulk does not outlive it
	tx      *sql.Tx
	dialect dialect
}

// run runs a statement for all rows, in order, and calls scan for every row it
// answers with; scan may be nil.
func (b bulk) run(s statement, rows [][]any, scan func(*sql.Rows) error) error {
	for len(rows) > 0 {
		n := step(rows)
		var args []any
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		if err := b.query(s.text(n), args, scan); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (b bulk) query(text string, args []any, scan func(*sql.Rows) error) error {
	text = b.dialect.bind(text)
	if scan == nil {
		_, err := b.tx.ExecContext(b.ctx, text, args...)
		return err
	}
	rows, err := b.tx.QueryContext(b.ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
	}
	return rows.Err()
}
