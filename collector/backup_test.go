package collector

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"sallyport/collector/admin"
	"sallyport/collector/store"
)

func TestBackupAndRestore(t *testing.T) {
	s := startSite(t, testConfig(t))
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	a.mustSend(t, a.envelope("e", 1, a.finding("f1", 1)))
	path := filepath.Join(t.TempDir(), "backup.tar")
	s.admin(t, "POST", "/backup", admin.Path{Path: path}, nil)
	s.stop()

	restored := &site{cfg: testConfig(t)}
	if err := Restore(restored.cfg, path); err != nil {
		t.Fatal(err)
	}
	if err := Restore(restored.cfg, path); err == nil || !strings.Contains(err.Error(), "empty state folder") {
		t.Errorf("restored over a collector: %v", err)
	}
	restored.start(t)
	var page store.Page
	restored.admin(t, "GET", "/findings?q=203.0.113.9", nil, &page)
	if len(page.Findings) != 1 {
		t.Errorf("%d findings after the restore", len(page.Findings))
	}
	a.url = "https://" + restored.at.Agents.String()
	a.mustSend(t, a.envelope("e", 2, a.finding("f2", 1))) // its certificate still counts
}

func TestHealthAndMetrics(t *testing.T) {
	cfg, _ := withFile(t, testConfig(t))
	s := startSite(t, cfg)
	a := newAgent(t, s.at.Agents.String(), s.token(t), "web-1")
	a.mustSend(t, a.envelope("e", 1, a.finding("f1", 1)))
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + s.at.Health.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, want := range []string{
		"sallyport_ready 1", "sallyport_ingest_findings_total 1", `sallyport_agents{state="reporting"} 1`, `sallyport_export_sent_total{exporter="file"} 1`, "sallyport_stream_entries 1",
	} {
		eventually(t, want, func() bool { _, body := get("/metrics"); return strings.Contains(body, want) })
	}
}
