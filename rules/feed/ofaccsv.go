package feed

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// ofacColumns are those of sdn.csv: uid, name, type, programmes, title, call
// sign, vessel type, tonnage, GRT, flag, owner, remarks. There is no header.
const ofacColumns = 12

// ofacCSV reads sdn.csv (or cons_prim.csv) with the files beside it: alt.csv
// (aliases) and sdn_comments.csv (remarks that were too long). add.csv holds
// postal addresses, which say nothing about a network; it is not read.
func (j *job) ofacCSV(ctx context.Context, r io.Reader) error {
	aliases, err := j.ofacBeside(ctx, "alt.csv", 5)
	if err != nil {
		return err
	}
	comments, err := j.ofacBeside(ctx, "sdn_comments.csv", 2)
	if err != nil {
		return err
	}
	return eachRecord(ctx, r, func(line int, row []string) error {
		if len(row) != ofacColumns {
			j.report.Rows++
			j.reject(line, strings.Join(row, ","), fmt.Sprintf("a row of other than %d columns", ofacColumns))
			return nil
		}
		e := &ofacEntry{line: line, uid: row[0], name: row[1], kind: strings.ToLower(row[2]), lists: []string{"SDN"}}
		if row[3] != "" {
			e.programmes = strings.Split(row[3], "] [")
		}
		for _, a := range aliases[e.uid] {
			e.aliases = append(e.aliases, ofacAlias{name: a[3]})
		}
		remarks := row[11]
		for _, c := range comments[e.uid] {
			remarks += c[1]
		}
		e.remarks(remarks)
		return j.addOFAC(e)
	})
}

// ofacBeside reads a file beside the list, by uid. It may be missing: then the
// report says so.
func (j *job) ofacBeside(ctx context.Context, name string, columns int) (map[string][][]string, error) {
	r, err := j.openBeside(ctx, name)
	if errors.Is(err, os.ErrNotExist) {
		j.report.note("%s is not beside the list: what it adds is missing", name)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	defer r.Close()
	out := map[string][][]string{}
	err = eachRecord(ctx, r, func(line int, row []string) error {
		if len(row) != columns {
			j.document = name
			j.reject(line, strings.Join(row, ","), fmt.Sprintf("a row of other than %d columns", columns))
			j.document = ""
			return nil
		}
		if len(out) >= j.req.Limits.Rows {
			return errTooMany
		}
		out[row[0]] = append(out[row[0]], row)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return out, nil
}

// eachRecord reads CSV records without a header. "-0-" is OFAC's null; the
// old end-of-file mark (Ctrl-Z) is none of a record.
func eachRecord(ctx context.Context, r io.Reader, do func(line int, row []string) error) error {
	return scanLines(ctx, r, func(line int, s string) error {
		if strings.Trim(s, "\x1a \t") == "" {
			return nil
		}
		c := csv.NewReader(strings.NewReader(s))
		c.LazyQuotes, c.FieldsPerRecord = true, -1
		row, err := c.Read()
		if err != nil {
			row = nil
		}
		for i := range row {
			if row[i] = strings.TrimSpace(row[i]); row[i] == "-0-" {
				row[i] = ""
			}
		}
		return do(line, row)
	})
}
