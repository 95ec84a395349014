package console

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"sallyport/collector/account"
	"sallyport/collector/api"
	"sallyport/collector/record"
	"sallyport/collector/reports"
	"sallyport/collector/store"
)

// recordPage asks for reports and lists those there are.
type recordPage struct {
	Reports          []reports.Report
	Entity, From, To string
	Error            string
	Busy             bool // one is being made: the page looks again by itself
}

func (c *Console) recordPage(r *http.Request, problem string) recordPage {
	p := recordPage{Reports: c.parts.Reports.List(), Entity: r.FormValue("entity"), From: r.FormValue("from"), To: r.FormValue("to"), Error: problem}
	for _, x := range p.Reports {
		p.Busy = p.Busy || x.Finished.IsZero()
	}
	return p
}

func (c *Console) record(w http.ResponseWriter, r *http.Request, s account.Session) error {
	c.render(w, http.StatusOK, "record", s, c.recordPage(r, ""))
	return nil
}

func (c *Console) askReport(w http.ResponseWriter, r *http.Request, s account.Session) error {
	q := record.Query{Entity: r.PostFormValue("entity")}
	var err, wrong error
	q.From, err = store.ParseTime("from", r.PostFormValue("from"))
	if q.To, wrong = store.ParseTime("to", r.PostFormValue("to")); err == nil {
		err = wrong
	}
	if err != nil {
		c.render(w, http.StatusBadRequest, "record", s, c.recordPage(r, err.Error()))
		return nil
	}
	// What cannot be logged is not made.
	if err := c.log(r, s, "asked for a report of the record", api.ReportSubject(q.Entity, q.From, q.To)); err != nil {
		return err
	}
	_, err = c.parts.Reports.Ask(q, time.Now())
	var unfit reports.Invalid
	switch {
	case errors.As(err, &unfit):
		c.render(w, http.StatusBadRequest, "record", s, c.recordPage(r, err.Error()))
	case errors.Is(err, reports.ErrBusy):
		w.Header().Set("Retry-After", "60")
		c.render(w, http.StatusTooManyRequests, "record", s, c.recordPage(r, err.Error()))
	case err != nil:
		return err
	default:
		http.Redirect(w, r, "/record", http.StatusSeeOther)
	}
	return nil
}

// reportDocument sends a report to be kept: it is a page of its own, with a style
// that this site's policy does not allow.
func (c *Console) reportDocument(w http.ResponseWriter, r *http.Request, s account.Session) error {
	format := r.PathValue("format")
	if format != "json" && format != "html" {
		return fmt.Errorf("format: %w", store.ErrNotFound)
	}
	f, report, err := c.parts.Reports.Open(r.PathValue("report"), format)
	if errors.Is(err, reports.ErrNotReady) {
		return refusal{http.StatusConflict, "The report is not ready yet. Go back and wait a moment."}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.log(r, s, "read a report of the record", api.ReportSubject(report.Entity, report.From, report.To)); err != nil {
		return err
	}
	w.Header().Set("Content-Type", map[string]string{"json": "application/json", "html": "text/html; charset=utf-8"}[format])
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", report.FileName(format)))
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

func (c *Console) packList(w http.ResponseWriter, r *http.Request, s account.Session) error {
	list, err := c.parts.Packs.Assignments(r.Context())
	if err != nil {
		return err
	}
	c.render(w, http.StatusOK, "packs", s, list)
	return nil
}

func (c *Console) limitList(w http.ResponseWriter, _ *http.Request, s account.Session) error {
	c.render(w, http.StatusOK, "limits", s, c.parts.Limits)
	return nil
}
