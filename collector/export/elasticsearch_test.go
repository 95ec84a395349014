package export

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeElastic is a fake of Elasticsearch's bulk and index template interfaces, as
// strict about them as documented: a data stream takes create and @timestamp.
type fakeElastic struct {
	t         *testing.T
	documents map[string]map[string]any
	templates int
	status    map[string]int // by document id: answer this
	auth      string
}

func (f *fakeElastic) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	if r.Header.Get("Authorization") != f.auth {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "PUT /_index_template/sallyport-logs-sallyport.finding-default":
		var template struct {
			IndexPatterns []string        `json:"index_patterns"`
			DataStream    *struct{}       `json:"data_stream"`
			Priority      int             `json:"priority"`
			Meta          map[string]any  `json:"_meta"`
			Template      json.RawMessage `json:"template"`
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&template); err != nil || template.DataStream == nil || len(template.IndexPatterns) != 1 || template.Priority <= 100 {
			f.t.Errorf("template %s: %v", body, err)
		}
		f.templates++
		io.WriteString(w, `{"acknowledged":true}`)
	case "POST /_bulk":
		f.bulk(w, r, body)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (f *fakeElastic) bulk(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.Header.Get("Content-Type") != "application/x-ndjson" || !bytes.HasSuffix(body, []byte("\n")) || f.templates == 0 {
		f.t.Errorf("content type %q, %d templates before", r.Header.Get("Content-Type"), f.templates)
	}
	rows := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	var results []string
	for i := 0; i+1 < len(rows); i += 2 {
		var action map[string]map[string]string
		var document map[string]any
		if err := json.Unmarshal(rows[i], &action); err != nil || action["create"]["_index"] != "logs-sallyport.finding-default" {
			f.t.Fatalf("action %s: %v", rows[i], err)
		}
		if err := json.Unmarshal(rows[i+1], &document); err != nil || document["@timestamp"] != "2026-11-27T18:42:00.123Z" {
			f.t.Fatalf("document %s: %v", rows[i+1], err)
		}
		id := action["create"]["_id"]
		status := 201
		if _, there := f.documents[id]; there {
			status = 409
		}
		if s := f.status[id]; s != 0 {
			status = s
		}
		if status == 201 {
			f.documents[id] = document
		}
		results = append(results, fmt.Sprintf(`{"create":{"_index":".ds-x","_id":%q,"status":%d,"error":{"type":"some_exception","reason":"because"}}}`, id, status))
	}
	fmt.Fprintf(w, `{"took":1,"errors":true,"items":[%s]}`, bytes.Join(byteSlices(results), []byte(",")))
}

func byteSlices(list []string) [][]byte {
	var out [][]byte
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

func startElastic(t *testing.T, format, more string) (*fakeElastic, Exporter) {
	t.Helper()
	f := &fakeElastic{t: t, documents: map[string]map[string]any{}, status: map[string]int{}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, open(t, "elasticsearch", format, "url: "+s.URL+"/\nplaintext: true\n"+more)
}

func TestElasticsearchTakesEveryJSONFormat(t *testing.T) {
	for _, format := range []string{"ecs", "ocsf", "json"} {
		f, e := startElastic(t, format, "")
		f.auth = ""
		for range 2 { // a repeat meets itself
			if err := e.Export(t.Context(), items(t)); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.documents) != len(samples()) || f.templates != 1 {
			t.Errorf("%s: %d documents, %d templates", format, len(f.documents), f.templates)
		}
		next := desktop()
		next.Revision++
		if err := e.Export(t.Context(), []Item{itemOf(t, next)}); err != nil {
			t.Fatal(err)
		}
		if len(f.documents) != len(samples())+1 {
			t.Errorf("%s: a new revision is no new document", format)
		}
	}
}

func TestElasticsearchSortsPartialFailures(t *testing.T) {
	f, e := startElastic(t, "ecs", "")
	all := items(t)
	f.status[revision(&all[1].Finding)] = 400
	f.status[revision(&all[3].Finding)] = 429
	err := e.Export(t.Context(), all)
	var refused *Refused
	if err == nil || errors.As(err, &refused) {
		t.Fatalf("error %v, although one must be sent again", err)
	}
	delete(f.status, revision(&all[3].Finding))
	if err := e.Export(t.Context(), all); !errors.As(err, &refused) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff([]RefusedItem{{1, "receiver answered 400 some_exception: because"}}, refused.Items); diff != "" {
		t.Error(diff)
	}
	if len(f.documents) != len(all)-1 {
		t.Errorf("%d documents", len(f.documents))
	}
	for _, status := range []int{401, 403, 404, 429, 500, 503} {
		f.status[revision(&all[0].Finding)] = status
		if err := e.Export(t.Context(), all[:1]); err == nil || errors.As(err, &refused) {
			t.Errorf("%d: error %v", status, err)
		}
	}
}

func TestElasticsearchSignsIn(t *testing.T) {
	f, e := startElastic(t, "ecs", "api_key_file: "+secret(t, "a2V5"))
	f.auth = "ApiKey a2V5"
	if err := e.Export(t.Context(), items(t)); err != nil {
		t.Error(err)
	}
	f, e = startElastic(t, "ecs", "user: alice\npassword_file: "+secret(t, "s3cret"))
	f.auth = "Basic YWxpY2U6czNjcmV0"
	if err := e.Export(t.Context(), items(t)); err != nil {
		t.Error(err)
	}
	f.auth = "Basic other"
	var refused *Refused
	if err := e.Export(t.Context(), items(t)); err == nil || errors.As(err, &refused) {
		t.Errorf("error %v with a wrong password", err)
	}
}
