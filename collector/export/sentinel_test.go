package export

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// fakeAzure is a fake of Microsoft Entra ID's token endpoint and of the Logs
// Ingestion API, as strict as both are documented to be.
type fakeAzure struct {
	t      *testing.T
	rows   []map[string]any
	tokens int
	want   url.Values // of the token request
	token  string     // that is valid now
	status int        // answer this instead
}

func (f *fakeAzure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.RequestURI() {
	case "POST /tenant-1/oauth2/v2.0/token":
		if err := r.ParseForm(); err != nil || r.PostForm.Encode() != f.want.Encode() {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"invalid_client"}`)
			return
		}
		f.tokens++
		json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": f.token})
	case "POST /dataCollectionRules/dcr-0123/streams/Custom-SallyportFindings?api-version=2023-01-01":
		f.logs(w, r)
	default:
		f.t.Errorf("%s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusNotFound)
	}
}

func (f *fakeAzure) logs(w http.ResponseWriter, r *http.Request) {
	z, err := gzip.NewReader(r.Body)
	if err != nil || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Content-Encoding") != "gzip" {
		f.t.Errorf("header %v: %v", r.Header, err)
	}
	body, err := io.ReadAll(z)
	var rows []map[string]any
	switch {
	case err != nil || json.Unmarshal(body, &rows) != nil:
		f.t.Errorf("body %s", body)
	case r.Header.Get("Authorization") != "Bearer "+f.token:
		w.WriteHeader(http.StatusUnauthorized)
	case len(body) > 1_000_000:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case f.status != 0:
		w.WriteHeader(f.status)
	default:
		f.rows = append(f.rows, rows...)
		w.WriteHeader(http.StatusNoContent)
	}
}

func startSentinel(t *testing.T, credential string, want url.Values) (*fakeAzure, Exporter) {
	t.Helper()
	want.Set("grant_type", "client_credentials")
	want.Set("client_id", "app-1")
	want.Set("scope", "https://monitor.azure.com/.default")
	f := &fakeAzure{t: t, want: want, token: "first"}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, open(t, "sentinel", "json", "url: "+s.URL+"\nplaintext: true\nauthority: "+s.URL+"\nrule: dcr-0123\ntenant: tenant-1\nclient_id: app-1\n"+credential+secret(t, "s3cret"))
}

func TestSentinelWithEachCredential(t *testing.T) {
	for credential, want := range map[string]url.Values{
		"client_secret_file: ": {"client_secret": {"s3cret"}},
		"assertion_file: ":     {"client_assertion": {"s3cret"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}},
	} {
		f, e := startSentinel(t, credential, want)
		for range 2 {
			if err := e.Export(t.Context(), items(t)); err != nil {
				t.Fatal(err)
			}
		}
		if f.tokens != 1 || len(f.rows) != 2*len(samples()) {
			t.Errorf("%d tokens, %d rows", f.tokens, len(f.rows))
		}
		row := f.rows[1]
		if row["TimeGenerated"] != "2026-11-27T18:42:00.123Z" || row["FindingId"] != desktop().ID || row["Revision"] != 7.0 || row["Finding"].(map[string]any)["id"] != desktop().ID {
			t.Errorf("row %v", row)
		}
		f.token = "second" // the first was withdrawn
		if err := e.Export(t.Context(), items(t)); err == nil {
			t.Error("a withdrawn token counts")
		}
		if err := e.Export(t.Context(), items(t)); err != nil {
			t.Errorf("no new token was asked for: %v", err)
		}
	}
}

func TestSentinelRefusals(t *testing.T) {
	f, e := startSentinel(t, "client_secret_file: ", url.Values{"client_secret": {"s3cret"}})
	big := itemOf(t, vpn())
	big.Raw = []byte(`{"x":"` + strings.Repeat("x", 1_000_000) + `"}`)
	err := e.Export(t.Context(), []Item{itemOf(t, contact()), big, itemOf(t, aboutAgent())})
	var refused *Refused
	if !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 1 || len(f.rows) != 2 {
		t.Errorf("error %v, %d rows", err, len(f.rows))
	}
	f.status = http.StatusForbidden // the role is missing: an operator's matter
	refused = nil
	if err := e.Export(t.Context(), items(t)); err == nil || errors.As(err, &refused) {
		t.Errorf("error %v without the role", err)
	}
	f.status = 0
	f, e = startSentinel(t, "client_secret_file: ", url.Values{"client_secret": {"other"}})
	if err := e.Export(t.Context(), items(t)); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "authority answered 401") {
		t.Errorf("error %v with a wrong secret", err)
	}
}
