package export

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fakeHook is a fake receiver that checks signature, time and id as the Standard
// Webhooks specification asks of one.
type fakeHook struct {
	t      *testing.T
	key    []byte
	bodies map[string]string // by id
	posts  int
	status map[string]int // by id
}

func (f *fakeHook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.posts++
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	id, at := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age > 5*time.Minute || age < -5*time.Minute {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, f.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	got, _ := strings.CutPrefix(r.Header.Get("webhook-signature"), "v1,")
	sum, err := base64.StdEncoding.DecodeString(got)
	if err != nil || !hmac.Equal(sum, mac.Sum(nil)) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s := f.status[id]; s != 0 {
		w.WriteHeader(s)
		return
	}
	if _, twice := f.bodies[id]; twice {
		f.t.Errorf("%s came twice", id)
	}
	f.bodies[id] = string(body)
}

func startHook(t *testing.T, key string) (*fakeHook, Exporter) {
	t.Helper()
	f := &fakeHook{t: t, key: []byte("0123456789abcdef0123456789abcdef"), bodies: map[string]string{}, status: map[string]int{}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return f, open(t, "webhook", "ecs", "url: "+s.URL+"/hook\nplaintext: true\nsecret_file: "+secret(t, key))
}

func TestWebhookIsSigned(t *testing.T) {
	for _, key := range []string{"0123456789abcdef0123456789abcdef", "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))} {
		f, e := startHook(t, key)
		if err := e.Export(t.Context(), items(t)); err != nil {
			t.Fatal(err)
		}
		item := itemOf(t, desktop())
		text, _ := ecsFormat{}.Append(nil, &item)
		if len(f.bodies) != len(samples()) || f.bodies["node-1/"+desktop().ID+".7"] != string(text) {
			t.Errorf("%d posts", len(f.bodies))
		}
	}
	for _, key := range []string{"another-key-another-key-another", "short", "whsec_%"} {
		f, e := startHook(t, key)
		var refused *Refused
		if err := e.Export(t.Context(), items(t)); err == nil || errors.As(err, &refused) || len(f.bodies) > 0 {
			t.Errorf("key %q: error %v, %d posts", key, err, len(f.bodies))
		}
	}
}

// TestWebhookGoesOnWhereItStopped does not send again what was taken.
func TestWebhookGoesOnWhereItStopped(t *testing.T) {
	f, e := startHook(t, "0123456789abcdef0123456789abcdef")
	all := items(t)
	f.status[revision(&all[1].Finding)] = http.StatusUnprocessableEntity
	f.status[revision(&all[3].Finding)] = http.StatusBadGateway
	var refused *Refused
	if err := e.Export(t.Context(), all); err == nil || errors.As(err, &refused) {
		t.Fatalf("error %v", err)
	}
	delete(f.status, revision(&all[3].Finding))
	f.posts = 0
	if err := e.Export(t.Context(), all); !errors.As(err, &refused) || len(refused.Items) != 1 || refused.Items[0].Index != 1 {
		t.Fatalf("error %v", err)
	}
	if f.posts != 3 || len(f.bodies) != 4 { // the refused one, and the two that had not been tried
		t.Errorf("%d posts, %d taken", f.posts, len(f.bodies))
	}
}

func TestHTTPVerifiesItsReceiver(t *testing.T) {
	p, other := newPKI(t), newPKI(t)
	f := &fakeHook{t: t, key: []byte("0123456789abcdef0123456789abcdef"), bodies: map[string]string{}}
	s := httptest.NewUnstartedServer(f)
	s.TLS = p.server(t, true)
	s.StartTLS()
	defer s.Close()
	base := "url: " + s.URL + "\nsecret_file: " + secret(t, "0123456789abcdef0123456789abcdef") + "\n"
	client := "certificate: " + p.file("client.crt") + ", key: " + p.file("client.key")
	for _, tt := range []struct {
		name, tls string
		ok        bool
	}{
		{"right", "tls: {ca: " + p.file("ca.crt") + ", " + client + "}", true},
		{"system's CAs", "tls: {" + client + "}", false},
		{"another CA", "tls: {ca: " + other.file("ca.crt") + ", " + client + "}", false},
		{"another name", "tls: {server_name: other.example, ca: " + p.file("ca.crt") + ", " + client + "}", false},
		{"no client certificate", "tls: {ca: " + p.file("ca.crt") + "}", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clear(f.bodies)
			err := open(t, "webhook", "ecs", base+tt.tls).Export(t.Context(), items(t))
			if (err == nil) != tt.ok || (len(f.bodies) > 0) != tt.ok {
				t.Errorf("error %v, %d posts", err, len(f.bodies))
			}
		})
	}
}

// TestRedirectsAreNotFollowed keeps secrets with the receiver they are for.
func TestRedirectsAreNotFollowed(t *testing.T) {
	f, _ := startHook(t, "0123456789abcdef0123456789abcdef")
	elsewhere := httptest.NewServer(f)
	defer elsewhere.Close()
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	e := open(t, "webhook", "ecs", "url: "+s.URL+"\nplaintext: true\nsecret_file: "+secret(t, "0123456789abcdef0123456789abcdef"))
	if err := e.Export(t.Context(), items(t)); err == nil || f.posts != 0 {
		t.Errorf("error %v, %d posts elsewhere", err, f.posts)
	}
}
