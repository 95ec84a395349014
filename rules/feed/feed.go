// Package feed imports lists of others: entities and indicators, as they are
// published, become entities of package rules. Every row that cannot become one
// is counted and shown with its line and the reason, since a list that is
// silently half read looks like a quiet network.
//
// A kind of feed is one file here and one line in Importers.
package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/rules"
)

// Importer reads one kind of feed.
type Importer struct {
	Kind string
	Doc  string
	read func(ctx context.Context, j *job) error
}

// Importers lists the kinds of feed.
func Importers() []Importer {
	return []Importer{
		{"stix", "STIX 2.1 bundle", readSTIX},
		{"taxii", "TAXII 2.1 collection", readTAXII},
		{"misp", "MISP event, or feed (manifest.json)", readMISP},
		{"ofac", "OFAC list: classic, advanced or enhanced XML, or CSV (sdn.csv with alt.csv, add.csv and sdn_comments.csv beside it)", readOFAC},
		{"list", "plain list, one value a line", readList},
		{"csv", "table with a header line, separated by comma, semicolon or tab", readCSV},
		{"zeek", "Zeek intelligence file", readZeek},
		{"suricata", "Suricata dataset or iprep file", readSuricata},
		{"maltrail", "maltrail trail file", readMaltrail},
	}
}

// Request asks for an import.
type Request struct {
	Kind string
	From string // a path, or an http or https URL
	// Entity is whom the indicators of a feed without entities of its own are tied
	// to: id, name, kind, designations and the like are kept, indicators added.
	// Without an id the entity is named after the source, and has no designation.
	Entity     rules.Entity
	Source     rules.Source        // id and name are made from From when empty
	Confidence rules.Confidence    // of rows that state none; low when empty
	Type       rules.IndicatorType // what hashes are, where the format does not say
	Programmes []string            // of an OFAC list: only entries under one of these; all when empty
	Client     ClientConfig
	State      State            // what the last import of this feed returned
	Limits     Limits           // zero: DefaultLimits
	Now        func() time.Time // zero: time.Now
}

// State is kept between two imports of a feed.
type State struct {
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	AddedAfter   string    `json:"added_after,omitempty"` // TAXII: when the newest object was added, as the server wrote it
	Since        int64     `json:"since,omitempty"`       // MISP feed: newest event timestamp, Unix seconds
	At           time.Time `json:"at,omitzero"`
}

// Limits bound what one import may take: a feed is hostile input.
type Limits struct {
	Bytes   int64 // of each document
	Rows    int   // accepted rows
	Objects int   // documents or pages one import may fetch
}

// DefaultLimits are wide enough for the largest lists known: OFAC's enhanced XML
// has 109 MB.
func DefaultLimits() Limits {
	return Limits{Bytes: 512 << 20, Rows: 5_000_000, Objects: 10_000}
}

// Result is what an import found.
type Result struct {
	Entities  []rules.Entity
	Report    Report
	State     State
	Unchanged bool // the server says nothing changed; Entities is empty
	// Partial says that Entities holds only what is new since State: it adds to
	// what was imported before, and a small one is no sign of a broken feed.
	Partial bool
	// Withdrawn are values whose producer revoked them: take them out of what was
	// imported before, unless another row still names them.
	Withdrawn []Withdrawal
}

// Withdrawal is a value that its producer revoked.
type Withdrawal struct {
	Type  rules.IndicatorType
	Value string
}

// Errors that a caller may test.
var (
	ErrUnknownKind = errors.New("unknown kind of feed")
	ErrTooBig      = errors.New("feed is larger than allowed")
	ErrShrunk      = errors.New("feed has shrunk")
)

// Import reads a feed. It returns an error when the feed as a whole cannot be
// read; rows that cannot be used are in the report.
func Import(ctx context.Context, req Request) (*Result, error) {
	importers := Importers()
	i := slices.IndexFunc(importers, func(im Importer) bool { return im.Kind == req.Kind })
	if i < 0 {
		return nil, fmt.Errorf("%w: %q is none of %s", ErrUnknownKind, req.Kind, kindList(importers))
	}
	j, err := newJob(req)
	if err != nil {
		return nil, err
	}
	if err := importers[i].read(ctx, j); err != nil {
		if errors.Is(err, errNotModified) {
			return &Result{Report: j.report, State: req.State, Unchanged: true}, nil
		}
		return nil, fmt.Errorf("import %s from %s: %w", req.Kind, shown(req.From), err)
	}
	return j.result(), nil
}

func kindList(importers []Importer) string {
	kinds := make([]string, len(importers))
	for i, im := range importers {
		kinds[i] = im.Kind
	}
	return strings.Join(kinds, ", ")
}

// CheckSize refuses a set that is empty, or less than half of what the last
// import of the same feed held: a broken feed looks just like that. The error
// is ErrShrunk.
func CheckSize(before, after int, force bool) error {
	if force || (after > 0 && 2*after >= before) {
		return nil
	}
	return fmt.Errorf("%w: it holds %d, the last one %d; force it if that is right", ErrShrunk, after, before)
}

// Count is the number CheckSize compares: indicators, or the entities themselves
// where a list has hardly any.
func Count(entities []rules.Entity) int {
	n := len(entities)
	for i := range entities {
		n += len(entities[i].Indicators)
	}
	return n
}
