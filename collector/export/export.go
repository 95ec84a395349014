// Package export sends what the stream holds to other systems. An exporter is
// one file and one line below (docs/checklists/exporter.md).
package export

import (
	"context"
	"fmt"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
)

// Item is one revision of a finding on its way out.
type Item struct {
	Finding rules.Finding
	Raw     []byte // the document as the agent sent it, one line of JSON
}

// Exporter sends items to one receiver. Calls come from one goroutine.
type Exporter interface {
	// Export returns nil when the receiver has every item. An error means that all
	// are sent again later, without end, unless it is a *Refused: its items are
	// parked, and the rest have arrived.
	Export(ctx context.Context, items []Item) error
	Close() error
}

// Refused are items that the receiver will never take.
type Refused struct {
	Items []RefusedItem
}

// RefusedItem is one of them, by its place in the batch.
type RefusedItem struct {
	Index  int
	Reason string
}

func (r *Refused) Error() string { return fmt.Sprintf("receiver refused %d findings", len(r.Items)) }

// kind is a sort of exporter. Its open reads the settings and prepares, without
// talking to the receiver; its check reads them and touches nothing.
type kind struct {
	name  string
	open  func(opening) (Exporter, error)
	check func(Settings) error
	// objects says that the receiver takes JSON objects only.
	objects bool
}

// opening is what an exporter is made with.
type opening struct {
	name     string
	settings Settings
	format   Format
	logger   hclog.Logger
}

// kinds is every exporter there is.
var kinds = []kind{
	{"file", openFile, checkFile, false},
	{"syslog", openSyslog, checkSyslog, false},
	{"splunk", openSplunk, checkSplunk, false},
	{"elasticsearch", openElastic, checkElastic, true},
	{"kafka", openKafka, checkKafka, false},
	{"otlp", openOTLP, checkOTLP, false},
	{"sentinel", openSentinel, checkSentinel, false},
	{"s3", openS3, checkS3, false},
	{"webhook", openWebhook, checkWebhook, false},
}

// formats is every format there is.
var formats = []namedFormat{
	{"json", jsonFormat{}},
	{"ocsf", ocsfFormat{}},
	{"ocsf-activity", ocsfFormat{activity: true}},
	{"ecs", ecsFormat{}},
	{"cef", cefFormat{version: 0}},
	{"cef1", cefFormat{version: 1}},
	{"leef", leefFormat{}},
	{"csv", csvFormat{}},
}

type namedFormat struct {
	name string
	Format
}

// Format writes one item. The text holds no newline.
type Format interface {
	// ContentType is the media type of one item.
	ContentType() string
	// Append appends the item to dst. An error is of this item for good.
	Append(dst []byte, item *Item) ([]byte, error)
}

func kindOf(name string) (kind, error) {
	for _, k := range kinds {
		if k.name == name {
			return k, nil
		}
	}
	return kind{}, fmt.Errorf("exporter type %q is unknown; there are%s", name, list(kinds, func(k kind) string { return k.name }))
}

func formatOf(name string) (Format, error) {
	for _, f := range formats {
		if f.name == name {
			return f.Format, nil
		}
	}
	return nil, fmt.Errorf("format %q is unknown; there are%s", name, list(formats, func(f namedFormat) string { return f.name }))
}

func list[T any](of []T, name func(T) string) string {
	text := ""
	for _, x := range of {
		text += " " + name(x)
	}
	return text
}
