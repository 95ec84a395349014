package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"sallyport/collector/account"
	"sallyport/collector/store"
	"sallyport/rules"
)

// pages are the templates by name, each with the frame.
type pages map[string]*template.Template

func parsePages() (pages, error) {
	p := pages{}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	for _, path := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(path, "templates/"), ".html")
		if name == "frame" {
			continue
		}
		t, err := template.New("frame.html").Funcs(functions).ParseFS(files, "templates/frame.html", path)
		if err != nil {
			return nil, fmt.Errorf("read template %s: %w", name, err)
		}
		p[name] = t
	}
	return p, nil
}

// frame is what every page is shown in.
type frame struct {
	Page    string
	Session account.Session
	Version string
	Now     time.Time
	Data    any
}

// May says whether the person may do something, by its name.
func (f frame) May(what string) bool { return f.Session.May(account.Permission(what)) }

// render writes a page whole or not at all.
func (c *Console) render(w http.ResponseWriter, status int, name string, s account.Session, data any) {
	var out bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&out, "frame.html", frame{name, s, c.version, time.Now().UTC(), data}); err != nil {
		c.logger.Error("page not rendered", "page", name, "error", err)
		http.Error(w, "The collector cannot show this page; its log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the browser hung up
}

// functions that templates use.
var functions = template.FuncMap{
	"time":     timeText,
	"ago":      ago,
	"endpoint": endpoint,
	"bytes":    bytesText,
	"short":    short,
	"path":     findingPath,
	"severity": severityName,
	"join":     strings.Join,
	"list":     func(v ...string) []string { return v },
	"missing":  missing,
	"words":    func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := now.Sub(t)
	switch {
	case d < 0:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// severityName is the name of a rank.
func severityName(rank int64) rules.Severity {
	for _, s := range []rules.Severity{rules.SeverityInfo, rules.SeverityLow, rules.SeverityMedium, rules.SeverityHigh, rules.SeverityCritical} {
		if store.Rank(s) == rank {
			return s
		}
	}
	return "unknown"
}

// missing shows holes in a sequence, the first few.
func missing(holes store.Ranges) string {
	var out []string
	for i, h := range holes {
		if i == 5 {
			out = append(out, fmt.Sprintf("and %d more", len(holes)-i))
			break
		}
		if h[0] == h[1] {
			out = append(out, fmt.Sprint(h[0]))
		} else {
			out = append(out, fmt.Sprintf("%d–%d", h[0], h[1]))
		}
	}
	return strings.Join(out, ", ")
}

func document(f rules.Finding) string {
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
