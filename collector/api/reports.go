package api

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"sallyport/collector/record"
	"sallyport/collector/reports"
	"sallyport/collector/store"
)

// reportOrder is what a report shall be of.
type reportOrder struct {
	Entity string `json:"entity"`
	From   string `json:"from"` // day, or RFC 3339 time
	To     string `json:"to"`   // the first moment after the period
}

func (a *API) askReport(r request) (any, error) {
	var o reportOrder
	if err := read(r, "report's order", &o); err != nil {
		return nil, err
	}
	q := record.Query{Entity: o.Entity}
	var err error
	if q.From, err = store.ParseTime("from", o.From); err != nil {
		return nil, badRequest{err}
	}
	if q.To, err = store.ParseTime("to", o.To); err != nil {
		return nil, badRequest{err}
	}
	// What cannot be logged is not made.
	if err := a.log(r, "asked for a report of the record", ReportSubject(q.Entity, q.From, q.To)); err != nil {
		return nil, err
	}
	return a.parts.Reports.Ask(q, time.Now())
}

// ReportSubject is what the access log calls a report.
func ReportSubject(entity string, from, to time.Time) string {
	return fmt.Sprintf("%s from %s to %s", entity, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
}

func (a *API) listReports(request) (any, error) { return a.parts.Reports.List(), nil }

func (a *API) report(r request) (any, error) { return a.parts.Reports.Find(r.PathValue("report")) }

// file is a report to be sent.
type file struct {
	*os.File
	report reports.Report
	format string
}

func (a *API) reportDocument(r request) (any, error) {
	format := r.URL.Query().Get("format")
	switch format {
	case "":
		format = "json"
	case "json", "html":
	default:
		return nil, badRequest{fmt.Errorf("format %q is unknown; give json or html", format)}
	}
	f, report, err := a.parts.Reports.Open(r.PathValue("report"), format)
	if err != nil {
		return nil, err
	}
	if err := a.log(r, "read a report of the record", ReportSubject(report.Entity, report.From, report.To)); err != nil {
		f.Close()
		return nil, err
	}
	return &file{f, report, format}, nil
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	defer f.Close()
	w.Header().Set("Content-Type", map[string]string{"json": "application/json", "html": "text/html"}[f.format])
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", f.report.FileName(f.format)))
	http.ServeContent(w, r, "", time.Time{}, f.File)
}
