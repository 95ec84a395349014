package collector

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport/collector/account"
	"sallyport/collector/store"
)

// opProgram is the provider that collector/account/testdata/op/build.sh builds.
const opProgram = "/var/cache/sallyport-peers/op"

// op is a running OpenID Connect provider.
type op struct {
	issuer, ca string
	users      string // file
}

// startOP runs the provider for a console at redirect. It knows maria, an analyst,
// and kim, of no group that counts.
func startOP(t *testing.T, address, redirect string) *op {
	t.Helper()
	if _, err := os.Stat(opProgram); err != nil {
		t.Skipf("%s is absent; collector/account/testdata/op/build.sh builds it", opProgram)
	}
	folder := t.TempDir()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	// By name, so that to a browser it is another site than the console.
	o := &op{issuer: "https://localhost:" + port + "/", ca: filepath.Join(folder, "op.crt"), users: filepath.Join(folder, "users.json")}
	writeLoopbackPair(t, o.ca, filepath.Join(folder, "op.key"))
	person := func(id, name string) map[string]any {
		return map[string]any{"ID": id, "Username": name, "Password": "pass of " + name, "Email": name + "@example.org", "EmailVerified": true}
	}
	write(t, o.users, mustJSON(t, map[string]any{"id1": person("id1", "maria"), "id2": person("id2", "kim")}))
	config := filepath.Join(folder, "op.json")
	write(t, config, mustJSON(t, map[string]any{
		"Issuer": o.issuer, "Address": address, "Certificate": o.ca, "Key": filepath.Join(folder, "op.key"), "Users": o.users,
		"Groups":   map[string][]string{"id1": {"everybody", "sallyport-analysts"}, "id2": {"everybody"}},
		"ClientID": "sallyport", "ClientSecret": "the client's secret", "Redirect": redirect,
	}))
	cmd := exec.Command(opProgram, config)
	cmd.Stderr = testLog{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	client := insecureClient()
	eventually(t, "the provider answers", func() bool {
		res, err := client.Get(o.issuer + ".well-known/openid-configuration")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return o
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// writePair writes a self-signed certificate for loopback, and its key.
func writeLoopbackPair(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// person is a browser: it keeps cookies and goes where it is sent, as far as the
// provider's login form and back.
type personAt struct {
	t      *testing.T
	client *http.Client
	home   string
}

func newPerson(t *testing.T, home string) *personAt {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &personAt{t, &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}, home}
}

// page is an answer, after redirects.
type page struct {
	status int
	url    *url.URL
	body   string
}

func (p *personAt) read(res *http.Response, err error) page {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return page{res.StatusCode, res.Request.URL, string(body)}
}

func (p *personAt) get(path string) page {
	p.t.Helper()
	return p.read(p.client.Get(p.home + path))
}

var hiddenID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signOn goes through the provider's own form and gives the page at the end.
func (p *personAt) signOn(user, password string) page {
	p.t.Helper()
	form := p.get("/signin/oidc")
	id := hiddenID.FindStringSubmatch(form.body)
	if id == nil {
		p.t.Fatalf("no login form: %d %s %s", form.status, form.url, form.body)
	}
	at := form.url.ResolveReference(&url.URL{Path: "/login/username"})
	return p.read(p.client.PostForm(at.String(), url.Values{"id": {id[1]}, "username": {user}, "password": {password}}))
}

// startSignOn starts a collector that knows a provider.
func startSignOn(t *testing.T, edit func(*account.OIDCConfig)) (*site, *op) {
	t.Helper()
	cfg := testConfig(t)
	cfg.Listen.People = freeAddress(t) // the provider must know it before
	redirect := "https://" + cfg.Listen.People + account.OIDCCallback
	o := startOP(t, freeAddress(t), redirect)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, []byte("the client's secret\n"))
	cfg.Account.OIDC.Issuer, cfg.Account.OIDC.CAFile, cfg.Account.OIDC.RedirectURL = o.issuer, o.ca, redirect
	cfg.Account.OIDC.ClientID, cfg.Account.OIDC.ClientSecretFile, cfg.Account.OIDC.Title = "sallyport", secret, "Example ID"
	cfg.Account.OIDC.Roles = []account.GroupRole{{Group: "sallyport-analysts", Role: account.Analyst}, {Group: "sallyport-admins", Role: account.Admin}}
	if edit != nil {
		edit(&cfg.Account.OIDC)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return startSite(t, cfg), o
}

func TestSignOnWithAProvider(t *testing.T) {
	s, o := startSignOn(t, nil)
	home := "https://" + s.at.People.String()
	maria := newPerson(t, home)
	if p := maria.get("/signin"); !strings.Contains(p.body, "Sign in with Example ID") || !strings.Contains(p.body, `name="password"`) {
		t.Errorf("sign-in page: %s", p.body)
	}
	if p := maria.signOn("maria", "wrong"); p.url.Host == s.at.People.String() {
		t.Errorf("a wrong password led to %s", p.url)
	}
	in := maria.signOn("maria", "pass of maria")
	if in.status != http.StatusOK || in.url.Path != account.OIDCCallback || !strings.Contains(in.body, `http-equiv="refresh" content="0;url=/findings"`) {
		t.Fatalf("signed on: %d %s %s", in.status, in.url, in.body)
	}
	if p := maria.get("/findings"); p.url.Path != "/findings" || !strings.Contains(p.body, "oidc:maria@example.org") || !strings.Contains(p.body, "analyst") {
		t.Errorf("findings: %s %s", p.url, p.body)
	}
	if p := maria.get("/access"); p.status != http.StatusForbidden {
		t.Errorf("an analyst reads the access log: %d", p.status)
	}
	// The code was used: whoever sees the address in a log gets nowhere.
	if p := maria.read(maria.client.Get(in.url.String())); p.status != http.StatusForbidden || !strings.Contains(p.body, "begun elsewhere") {
		t.Errorf("the callback again: %d %s", p.status, p.body)
	}
	var users []store.User
	s.admin(t, "GET", "/users", nil, &users)
	if len(users) != 2 || users[1].Name != "oidc:maria@example.org" || users[1].Role != account.Analyst || users[1].Evidence {
		t.Errorf("users %+v", users)
	}
	maria.signsOut(t, o)

	if p := newPerson(t, home).signOn("kim", "pass of kim"); p.status != http.StatusForbidden || !strings.Contains(p.body, "in none of the groups") {
		t.Errorf("kim: %d %s", p.status, p.body)
	}
	var log []store.Access
	token := s.apiToken(t, "d", "admin", false)
	if _, _, body := s.ask(t, insecureClient(), token, "GET", "/access-log"); json.Unmarshal(body, &log) != nil ||
		!strings.Contains(string(body), `"actor":"user:oidc:maria@example.org","action":"signed in"`) || !strings.Contains(string(body), "sign-in refused") {
		t.Errorf("access log %s", body)
	}
}

func (p *personAt) signsOut(t *testing.T, o *op) {
	t.Helper()
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(p.get("/findings").body)
	if csrf == nil {
		t.Fatal("no form to sign out")
	}
	if page := p.get("/password"); !strings.Contains(page.body, "Example ID") {
		t.Errorf("the password page of a person of the provider: %s", page.body)
	}
	out := p.read(p.client.PostForm(p.home+"/signout", url.Values{"csrf": {csrf[1]}}))
	if out.status != http.StatusOK || !strings.Contains(out.body, strings.TrimSuffix(o.issuer, "/")+"/end_session?client_id=sallyport") {
		t.Errorf("signed out: %d %s", out.status, out.body)
	}
	if page := p.get("/findings"); page.url.Path != "/signin" {
		t.Errorf("after signing out: %s", page.url)
	}
}

// TestSignOnInABrowser goes the way of a person with a real browser, which has its
// own mind about cookies when it comes back from another site.
func TestSignOnInABrowser(t *testing.T) {
	s, _ := startSignOn(t, nil)
	b := newBrowser(t)
	home := "https://" + s.at.People.String()
	b.open(home + "/findings")
	b.waitFor("location.pathname === '/signin'")
	b.eval("document.querySelector('#signon').click()")
	b.waitFor("location.hostname === 'localhost' && document.querySelector('[name=username]') !== null")
	b.submit("form", map[string]string{"username": "maria", "password": "pass of maria"})
	b.waitFor("location.hostname === '127.0.0.1' && location.pathname === '/findings'")
	b.waitFor("document.body.innerText.includes('oidc:maria@example.org')")
	b.shot("signedon")
	b.eval("document.querySelector('.who button').click()")
	b.waitFor("document.body.innerText.includes('You are signed out here')")
	b.open(home + "/findings")
	b.waitFor("location.pathname === '/signin'")
}

// TestSignOnIsOfOneBrowser tries what an attacker would who has one half of
// somebody's sign-in.
func TestSignOnIsOfOneBrowser(t *testing.T) {
	s, _ := startSignOn(t, nil)
	home := "https://" + s.at.People.String()
	stop := func(p *personAt) { // at the last redirect, before the callback is asked
		p.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if r.URL.Path == account.OIDCCallback {
				return http.ErrUseLastResponse
			}
			return nil
		}
	}
	maria := newPerson(t, home)
	stop(maria)
	form := maria.get("/signin/oidc")
	authorize := form.url
	id := hiddenID.FindStringSubmatch(form.body)
	res, err := maria.client.PostForm(authorize.ResolveReference(&url.URL{Path: "/login/username"}).String(), url.Values{"id": {id[1]}, "username": {"maria"}, "password": {"pass of maria"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	callback := res.Header.Get("Location")
	if !strings.Contains(callback, "code=") {
		t.Fatalf("no code: %s %s", res.Status, callback)
	}
	mallory := newPerson(t, home)
	if p := mallory.read(mallory.client.Get(callback)); p.status != http.StatusForbidden {
		t.Errorf("the callback in a browser that began nothing: %d", p.status)
	}
	// Mallory's own attempt, with maria's code under mallory's state.
	mallory.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	began, err := mallory.client.Get(home + "/signin/oidc")
	if err != nil {
		t.Fatal(err)
	}
	began.Body.Close()
	asked, err := url.Parse(began.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := asked.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("nonce") == "" || q.Get("state") == "" || q.Get("response_type") != "code" {
		t.Errorf("asked the provider for %s", asked)
	}
	stolen, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	mixed := url.Values{"code": {stolen.Query().Get("code")}, "state": {q.Get("state")}}
	if p := mallory.get(account.OIDCCallback + "?" + mixed.Encode()); p.status == http.StatusOK {
		t.Errorf("maria's code with mallory's verifier: %d %s", p.status, p.body)
	}
	if p := mallory.get("/findings"); p.status != http.StatusSeeOther {
		t.Errorf("mallory is in: %d", p.status)
	}
	if p := newPerson(t, home).get(account.OIDCCallback + "?error=access_denied&state=x"); p.status != http.StatusForbidden {
		t.Errorf("an error without an attempt: %d", p.status)
	}
}

func TestSignOnOnly(t *testing.T) {
	s, _ := startSignOn(t, func(c *account.OIDCConfig) { c.Only = true })
	home := "https://" + s.at.People.String()
	if p := newPerson(t, home).get("/signin"); strings.Contains(p.body, `name="password"`) {
		t.Error("the sign-in page asks for passwords")
	}
	res, err := insecureClient().PostForm(home+"/signin", url.Values{"user": {"admin"}, "password": {s.password}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a password: %s", res.Status)
	}
	if p := newPerson(t, home).signOn("maria", "pass of maria"); p.status != http.StatusOK {
		t.Errorf("the provider: %d %s", p.status, p.body)
	}
}

// TestProviderAway has people sign in with passwords while the provider is away,
// and with the provider as soon as it is there.
func TestProviderAway(t *testing.T) {
	cfg := testConfig(t)
	cfg.Listen.People = freeAddress(t)
	redirect, provider := "https://"+cfg.Listen.People+account.OIDCCallback, freeAddress(t)
	c := &cfg.Account.OIDC
	c.Issuer, c.RedirectURL, c.ClientID, c.DefaultRole = "https://"+provider+"/", redirect, "sallyport", account.Viewer
	s := startSite(t, cfg)
	home := "https://" + s.at.People.String()
	signInFor(t, insecureClient(), home, "admin", s.password)
	if p := newPerson(t, home).get("/signin/oidc"); p.status != http.StatusBadGateway || !strings.Contains(p.body, "cannot be asked now") {
		t.Errorf("without the provider: %d %s", p.status, p.body)
	}
}
