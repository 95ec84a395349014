package export

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

// fakeS3 is a fake bucket that checks AWS Signature Version 4 by itself.
type fakeS3 struct {
	t       *testing.T
	objects map[string][]byte
	key     string
	code    string // answer this error
	status  int
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/findings/")
	switch {
	case r.Method != http.MethodPut || !ok:
		f.fail(w, http.StatusNotFound, "NoSuchBucket")
	case !f.signed(r):
		f.fail(w, http.StatusForbidden, "SignatureDoesNotMatch")
	case f.code != "":
		f.fail(w, f.status, f.code)
	default:
		f.objects[name] = body
		w.Header().Set("ETag", `"0"`)
	}
}

func (f *fakeS3) fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	io.WriteString(w, "<?xml version=\"1.0\"?><Error><Code>"+code+"</Code><Message>m</Message></Error>")
}

// signed computes the signature anew (AWS General Reference, Signature Version 4).
func (f *fakeS3) signed(r *http.Request) bool {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return false
	}
	parts := map[string]string{}
	for _, p := range strings.Split(auth, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		parts[k] = v
	}
	scope, ok := strings.CutPrefix(parts["Credential"], "AKIDEXAMPLE/")
	names := strings.Split(parts["SignedHeaders"], ";")
	if !ok || !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-content-sha256") {
		return false
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n"
	for _, n := range names {
		v := r.Header.Get(n)
		if n == "host" {
			v = r.Host
		}
		canonical += n + ":" + strings.TrimSpace(v) + "\n"
	}
	canonical += "\n" + parts["SignedHeaders"] + "\n" + r.Header.Get("X-Amz-Content-Sha256")
	sum := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4" + f.key)
	for _, s := range append(strings.Split(scope, "/"), text) {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		key = m.Sum(nil)
	}
	return hex.EncodeToString(key) == parts["Signature"] && strings.HasSuffix(scope, "/eu-west-1/s3/aws4_request")
}

func startS3(t *testing.T, format, more string) (*fakeS3, Exporter) {
	t.Helper()
	f := &fakeS3{t: t, objects: map[string][]byte{}, key: "s3cret"}
	p := newPKI(t)
	s := httptest.NewUnstartedServer(f)
	s.TLS = p.server(t, false)
	s.StartTLS()
	t.Cleanup(s.Close)
	return f, open(t, "s3", format, "url: "+s.URL+"\ntls: {ca: "+p.file("ca.crt")+"}\npath_style: true\nbucket: findings\nregion: eu-west-1\naccess_key: AKIDEXAMPLE\nsecret_key_file: "+secret(t, "s3cret")+"\n"+more)
}

func TestS3ObjectsArePartitionedAndCompressed(t *testing.T) {
	later := vpn()
	later.Created = later.Created.Add(24 * time.Hour)
	batch := []Item{itemOf(t, desktop()), itemOf(t, later), itemOf(t, contact())}
	for compression, ending := range map[string]string{"gzip": ".csv.gz", "zstd": ".csv.zst", "none": ".csv"} {
		f, e := startS3(t, "csv", "compression: "+compression)
		for range 2 { // the same batch overwrites itself
			if err := e.Export(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]string{}
		for name, body := range f.objects {
			prefix, _, _ := strings.Cut(strings.TrimPrefix(name, "sallyport/"), "/")
			if !strings.HasSuffix(name, ending) {
				t.Errorf("object %s", name)
			}
			got[prefix] = unpacked(t, compression, body)
		}
		want := map[string]string{"date=2026-11-27": "", "date=2026-11-28": ""}
		for i, date := range []string{"date=2026-11-27", "date=2026-11-28", "date=2026-11-27"} {
			text, _ := csvFormat{}.Append(nil, &batch[i])
			want[date] += string(text) + "\n"
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", compression, diff)
		}
	}
}

func unpacked(t *testing.T, compression string, body []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	var err error
	switch compression {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestS3Refusals(t *testing.T) {
	f, e := startS3(t, "json", "")
	var refused *Refused
	f.key = "other"
	if err := e.Export(t.Context(), items(t)); err == nil || errors.As(err, &refused) {
		t.Errorf("error %v with a wrong key", err)
	}
	f.key = "s3cret"
	for code, status := range map[string]int{"SlowDown": 503, "AccessDenied": 403, "NoSuchBucket": 404, "InternalError": 500} {
		f.code, f.status = code, status
		if err := e.Export(t.Context(), items(t)); err == nil || errors.As(err, &refused) || len(f.objects) > 0 {
			t.Errorf("%s: error %v", code, err)
		}
	}
	f.code, f.status = "EntityTooLarge", 400
	if err := e.Export(t.Context(), items(t)); !errors.As(err, &refused) || len(refused.Items) != len(samples()) {
		t.Errorf("error %v of objects that are too large", err)
	}
}
