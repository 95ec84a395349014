package record

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"sallyport/rules"
)

//go:embed report.html
var reportPage string

// WriteHTML writes the report as one page that loads nothing.
func (r Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"time":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"words":    func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
		"endpoint": endpointText,
		"join":     strings.Join,
		"plus":     func(n int) int { return n + 1 },
		"round":    func(d time.Duration) string { return d.Round(time.Second).String() },
	}).Parse(reportPage)
	if err != nil {
		return fmt.Errorf("read report's template: %w", err)
	}
	return t.Execute(w, r)
}

func endpointText(e rules.Endpoint) string {
	switch {
	case !e.Addr.IsValid():
		return "unknown"
	case e.Port == 0:
		return e.Addr.String()
	}
	return fmt.Sprintf("%s port %d", e.Addr, e.Port)
}
