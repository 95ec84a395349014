package feed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func httpRequest(t *testing.T, kind, url string) Request {
	req := testRequest(t, kind, "unused", "")
	req.From = url
	return req
}

func TestConditionalFetch(t *testing.T) {
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Last-Modified", "Wed, 18 Nov 2026 00:00:00 GMT")
		if r.Header.Get("If-None-Match") == `"v1"` && r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, "192.0.2.1\n")
	}))
	defer srv.Close()
	req := httpRequest(t, "list", srv.URL+"/list.txt")
	res := mustImport(t, req)
	if len(brief(res.Entities)) != 1 || res.State.ETag != `"v1"` || res.Unchanged {
		t.Fatalf("first: %+v", res)
	}
	req.State = res.State
	if res = mustImport(t, req); !res.Unchanged || len(res.Entities) != 0 || res.State.ETag != `"v1"` || requests != 2 {
		t.Errorf("second: %+v after %d requests", res, requests)
	}
}

func TestClientRefuses(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("tok\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	leaked := ""
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked = r.Header.Get("Authorization")
		fmt.Fprint(w, "192.0.2.1\n")
	}))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/plain":
			http.Redirect(w, r, "http://198.18.0.1/x", http.StatusFound)
		case "/ftp":
			http.Redirect(w, r, "ftp://127.0.0.1/x", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/big":
			fmt.Fprint(w, strings.Repeat("192.0.2.1\n", 1000))
		case "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(30 * time.Second):
			}
		case "/auth":
			if r.Header.Get("Authorization") != "Bearer tok" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, "192.0.2.1\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	for _, tt := range []struct {
		path, want string
		cfg        ClientConfig
	}{
		{"/redirect", "", ClientConfig{TokenFile: secret}},
		{"/auth", "", ClientConfig{TokenFile: secret}},
		{"/auth", "401", ClientConfig{}},
		{"/plain", "plain http can be changed", ClientConfig{}},
		{"/ftp", `scheme "ftp"`, ClientConfig{}},
		{"/loop", "more than 10 redirects", ClientConfig{}},
		{"/big", ErrTooBig.Error(), ClientConfig{}},
		{"/slow", "fetch", ClientConfig{Timeout: 50 * time.Millisecond}},
		{"/gone", "404", ClientConfig{}},
		{"/x", "give one of", ClientConfig{TokenFile: secret, KeyFile: secret}},
		{"/x", "read secret", ClientConfig{BasicFile: secret + "gone"}},
	} {
		req := httpRequest(t, "list", srv.URL+tt.path)
		req.Client, req.Limits = tt.cfg, Limits{Bytes: 1000, Rows: 10, Objects: 3}
		_, err := Import(context.Background(), req)
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.path, err, tt.want)
		}
	}
	if leaked != "" {
		t.Errorf("the secret went to another host: %q", leaked)
	}
	if _, err := Import(context.Background(), httpRequest(t, "list", "http://198.18.0.1/list")); err == nil || !strings.Contains(err.Error(), "plain http") {
		t.Errorf("plain http: %v", err)
	}
}

func TestNextFetchStaysNear(t *testing.T) {
	for range 200 {
		if d := NextFetch(time.Hour); d < 54*time.Minute || d > 66*time.Minute {
			t.Fatalf("next fetch after %s", d)
		}
	}
}

// taxiiServer serves three pages, by next and then by time.
func taxiiServer(t *testing.T, check func(*http.Request)) *httptest.Server {
	indicator := func(n int) string {
		return fmt.Sprintf(`{"type":"indicator","id":"indicator--%d","pattern_type":"stix","pattern":"[ipv4-addr:value='192.0.2.%d']"}`, n, n)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check(r)
		w.Header().Set("Content-Type", taxiiMedia)
		q := r.URL.Query()
		switch {
		case r.URL.Path != "/api/collections/c1/objects/":
			http.NotFound(w, r)
		case q.Get("added_after") == "2026-11-02T00:00:00.000Z":
			w.Header().Set("X-TAXII-Date-Added-Last", "2026-11-03T00:00:00.000Z")
			fmt.Fprintf(w, `{"objects": [%s]}`, indicator(3))
		case q.Get("added_after") == "2026-11-03T00:00:00.000Z":
			fmt.Fprint(w, `{}`)
		case q.Get("next") == "p2":
			w.Header().Set("X-TAXII-Date-Added-Last", "2026-11-02T00:00:00.000Z")
			fmt.Fprintf(w, `{"more": true, "objects": [%s]}`, indicator(2))
		case q.Get("next") == "":
			w.Header().Set("X-TAXII-Date-Added-Last", "2026-11-01T00:00:00.000Z")
			fmt.Fprintf(w, `{"more": true, "next": "p2", "objects": [%s]}`, indicator(1))
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestTAXII(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "basic")
	if err := os.WriteFile(secret, []byte("ann:pass:word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := taxiiServer(t, func(r *http.Request) {
		user, pass, _ := r.BasicAuth()
		if user != "ann" || pass != "pass:word" || r.Header.Get("Accept") != taxiiMedia {
			t.Errorf("request of %q %q, accept %q", user, pass, r.Header.Get("Accept"))
		}
	})
	for _, suffix := range []string{"", "/", "/objects/"} {
		req := httpRequest(t, "taxii", srv.URL+"/api/collections/c1"+suffix)
		req.Client.BasicFile = secret
		res := mustImport(t, req)
		if got := strings.Join(brief(res.Entities), ","); got != "ip 192.0.2.1,ip 192.0.2.2,ip 192.0.2.3" || res.Partial {
			t.Fatalf("got %s", got)
		}
		if res.State.AddedAfter != "2026-11-03T00:00:00.000Z" {
			t.Errorf("state %+v", res.State)
		}
		req.State = res.State
		if res = mustImport(t, req); len(brief(res.Entities)) != 0 || !res.Partial || res.State.AddedAfter != "2026-11-03T00:00:00.000Z" {
			t.Errorf("nothing new: %+v", res)
		}
	}
}

func TestTAXIIRefuses(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/html/"):
			fmt.Fprint(w, "<html>")
		case strings.Contains(r.URL.Path, "/endless/"):
			w.Header().Set("Content-Type", taxiiMedia)
			fmt.Fprintf(w, `{"more": true, "next": "%s1", "objects": []}`, r.URL.Query().Get("next"))
		default:
			w.Header().Set("Content-Type", taxiiMedia)
			fmt.Fprint(w, `{"more": true, "objects": []}`)
		}
	}))
	defer srv.Close()
	for path, want := range map[string]string{
		"/collections/html/":    "not TAXII 2.1",
		"/collections/endless/": "more than 20 pages",
		"/collections/stuck/":   "names no way to it",
		"/taxii2/":              "must be that of a collection",
	} {
		req := httpRequest(t, "taxii", srv.URL+path)
		req.Limits = Limits{Bytes: 10000, Rows: 100, Objects: 20}
		if _, err := Import(context.Background(), req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}

func TestMissingFile(t *testing.T) {
	req := testRequest(t, "list", "f", "")
	req.From += "gone"
	if _, err := Import(context.Background(), req); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMISPFeedOverHTTP(t *testing.T) {
	const uuid = "11111111-2222-3333-4444-555555555555"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/feed/manifest.json":
			fmt.Fprintf(w, `{"%s": {"timestamp": 1700000000}}`, uuid)
		case "/feed/" + uuid + ".json":
			fmt.Fprint(w, mispSample)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	res := mustImport(t, httpRequest(t, "misp", srv.URL+"/feed/manifest.json"))
	if n := len(brief(res.Entities)); n != 6 || res.State.Since != 1700000000 {
		t.Errorf("%d indicators, state %+v", n, res.State)
	}
}

func TestOFACOverHTTPSaysWhatIsMissing(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/sdn.csv" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, "1,A,-0- ,X,,,,,,,,Website a-site.net\n")
	}))
	defer srv.Close()
	req := httpRequest(t, "ofac", srv.URL+"/sdn.csv")
	req.Entity.ID, req.Entity.Test = "", false
	res := mustImport(t, req)
	if len(res.Report.Notes) != 2 || len(res.Entities) != 1 {
		t.Errorf("%d entities, notes %q", len(res.Entities), res.Report.Notes)
	}
}
