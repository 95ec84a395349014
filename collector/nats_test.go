package collector

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"sallyport/collector/identity"
	"sallyport/collector/stream"
)

// natsEnv has the test binary run a NATS server with this configuration file, as
// nats-server -c does.
const natsEnv = "SALLYPORT_NATS_CHILD"

func natsChild(path string) int {
	opts, err := natsserver.ProcessConfigFile(path)
	if err == nil {
		var srv *natsserver.Server
		if srv, err = natsserver.NewServer(opts); err == nil {
			srv.Start()
			srv.WaitForShutdown()
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// natsCluster is three NATS servers, with TLS in both directions and accounts
// that JWTs are for, as operators run them.
type natsCluster struct {
	cfg    stream.Config // what a collector needs
	files  []string
	procs  []*exec.Cmd
	places []place
	from   place // from where the test reaches them
}

// startNATS starts three servers, on loopback or each at a place of its own.
func startNATS(t testing.TB, places ...place) *natsCluster {
	t.Helper()
	const nodes = 3
	folder := t.TempDir()
	if len(places) == 0 {
		places = []place{{addr: "127.0.0.1"}, {addr: "127.0.0.1"}, {addr: "127.0.0.1"}}
	}
	c := &natsCluster{cfg: stream.DefaultConfig(), places: places}
	c.cfg.Replicas = nodes
	certify(t, folder, &c.cfg, places)
	auth := operator(t, folder, &c.cfg)
	ports := freePorts(t, 2*nodes)
	var urls, routes []string
	for i := range nodes {
		urls = append(urls, fmt.Sprintf("nats://%s:%d", places[i].addr, ports[i]))
		routes = append(routes, fmt.Sprintf("\"nats-route://%s:%d\"", places[i].addr, ports[nodes+i]))
	}
	c.cfg.URL = strings.Join(urls, ",")
	for i := range nodes {
		text := fmt.Sprintf(`
server_name: n%d
listen: "%s:%d"
max_payload: 8MB
jetstream { store_dir: "%s/n%d", sync_interval: always }
tls { cert_file: "%s/server.crt", key_file: "%s/server.key", ca_file: "%s/ca.crt", verify: true }
cluster { name: sallyport, listen: "%s:%d", routes: [ %s ] }
%s`, i, places[i].addr, ports[i], folder, i, folder, folder, folder, places[i].addr, ports[nodes+i], strings.Join(routes, ", "), auth)
		path := filepath.Join(folder, fmt.Sprintf("n%d.conf", i))
		write(t, path, []byte(text))
		c.files, c.procs = append(c.files, path), append(c.procs, nil)
		c.start(t, i)
	}
	t.Cleanup(func() {
		for i := range c.procs {
			c.kill(i)
		}
	})
	return c
}

func (c *natsCluster) start(t testing.TB, i int) {
	t.Helper()
	cmd := c.places[i].inside(again(t, natsEnv, c.files[i]))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.procs[i] = cmd
}

func (c *natsCluster) kill(i int) {
	c.procs[i].Process.Kill() // an error means that it has ended
	c.procs[i].Wait()
}

func (c *natsCluster) connect() (*nats.Conn, error) {
	return nats.Connect(c.cfg.URL, nats.SetCustomDialer(c.from), nats.UserCredentials(c.cfg.Credentials), nats.RootCAs(c.cfg.CA), nats.ClientCert(c.cfg.Certificate, c.cfg.Key))
}

// whole waits until every server has what the others have.
func (c *natsCluster) whole(t testing.TB) {
	t.Helper()
	eventually(t, "three NATS servers that are current", func() bool {
		conn, err := c.connect()
		if err != nil {
			return false
		}
		defer conn.Close()
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.AccountInfo(t.Context()); err != nil {
			return false
		}
		s, err := js.Stream(t.Context(), c.cfg.Name)
		if err != nil {
			return errors.Is(err, jetstream.ErrStreamNotFound)
		}
		info := s.CachedInfo().Cluster
		if info == nil || info.Leader == "" || len(info.Replicas) != 2 {
			return false
		}
		for _, r := range info.Replicas {
			if !r.Current || r.Offline {
				return false
			}
		}
		return true
	})
}

// certify makes the certificates of servers and clients.
func certify(t testing.TB, folder string, cfg *stream.Config, places []place) {
	t.Helper()
	ca, err := identity.CreateAuthority(folder, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range places {
		names = append(names, p.addr)
	}
	served, err := ca.IssueServer(names, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, filepath.Join(folder, "server"), served)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client, err := ca.IssueAgent(&x509.CertificateRequest{PublicKey: key.Public()}, "collector", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, filepath.Join(folder, "client"), &tls.Certificate{Certificate: [][]byte{client.Raw}, PrivateKey: key})
	cfg.CA, cfg.Certificate, cfg.Key = folder+"/ca.crt", folder+"/client.crt", folder+"/client.key"
}

func writePair(t testing.TB, path string, pair *tls.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	write(t, path+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
}

// operator makes an operator, a system account, an account with JetStream, and a
// user's credentials file; it gives the servers' part of the configuration.
func operator(t testing.TB, folder string, cfg *stream.Config) string {
	t.Helper()
	pair := func(make func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		t.Helper()
		kp, err := make()
		if err != nil {
			t.Fatal(err)
		}
		public, err := kp.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return kp, public
	}
	sign := func(c jwt.Claims, by nkeys.KeyPair) string {
		t.Helper()
		text, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	operator, operatorID := pair(nkeys.CreateOperator)
	_, systemID := pair(nkeys.CreateAccount)
	account, accountID := pair(nkeys.CreateAccount)
	user, userID := pair(nkeys.CreateUser)
	claims := jwt.NewAccountClaims(accountID)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := jwt.FormatUserConfig(sign(jwt.NewUserClaims(userID), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Credentials = filepath.Join(folder, "collector.creds")
	write(t, cfg.Credentials, credentials)
	oc := jwt.NewOperatorClaims(operatorID)
	oc.SystemAccount = systemID
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		sign(oc, operator), systemID, systemID, sign(jwt.NewAccountClaims(systemID), operator), accountID, sign(claims, operator))
}

// freePorts are ports that were free a moment ago: servers of a cluster must
// know each other's before they start.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
