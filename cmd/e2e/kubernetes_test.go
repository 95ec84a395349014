package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"sallyport/agent/deliver"
	"sallyport/agent/testenv"
	"sallyport/rules"
)

// cluster is an API server that has the shipped manifests, a collector that runs
// with the shipped configuration, and pods. The test is the kubelet: it asks for
// the tokens that the manifests' volumes name, and puts them where agents look.
type cluster struct {
	*site
	api       *apiServer
	daemonSet map[string]any
	agentYAML map[string]any
}

// newCluster applies every manifest and starts the collector.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	s := &site{dir: t.TempDir(), agentAddr: freeAddr(t)}
	c := &cluster{site: s, api: startAPIServer(t, s)}
	manifests := filepath.Join("..", "..", "deploy", "kubernetes")
	c.api.apply(t, filepath.Join(manifests, "namespace.yaml"))
	ofCollector := c.api.apply(t, filepath.Join(manifests, "collector.yaml"))
	ofAgent := c.api.apply(t, filepath.Join(manifests, "agent.yaml"))
	c.daemonSet = ofAgent["DaemonSet"]
	c.agentYAML = settings(t, ofAgent["ConfigMap"], "agent.yaml")

	// What the kubelet would mount into the collector's pod.
	s.write(t, "own-token", c.token(t, "sallyport-collector", "", nil))
	cfg := settings(t, ofCollector["ConfigMap"], "collector.yaml")
	cfg["state_dir"], cfg["url"] = s.path("collector"), "https://"+s.agentAddr
	cfg["listen"] = map[string]any{"agents": s.agentAddr, "people": freeAddr(t), "health": freeAddr(t)}
	of := at[map[string]any](t, cfg, "identity", "kubernetes", 0)
	of["api_server"], of["ca_file"], of["token_file"] = c.api.url, c.api.ca, s.path("own-token")
	s.collectorConfig = s.write(t, "collector.yaml", toYAML(t, cfg))
	s.collect(t, "init", "--once")
	s.startCollector(t)
	s.write(t, "ca.crt", s.collect(t, "ca", "certificate"))
	for _, node := range []string{"node-1", "node-2"} {
		c.api.do(t, "POST", "/api/v1/nodes", map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": node}})
	}
	return c
}

// settings reads a configuration out of a ConfigMap.
func settings(t *testing.T, configMap map[string]any, name string) map[string]any {
	t.Helper()
	var cfg map[string]any
	if err := yaml.Unmarshal([]byte(at[string](t, configMap, "data", name)), &cfg); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func toYAML(t *testing.T, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pod makes a pod of the DaemonSet's template on a node, as its controller and the
// scheduler would, and gives what a token is bound to.
func (c *cluster) pod(t *testing.T, name, node, account string) map[string]any {
	t.Helper()
	spec := at[map[string]any](t, c.daemonSet, "spec", "template", "spec")
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	var copied map[string]any
	if err := json.Unmarshal(text, &copied); err != nil {
		t.Fatal(err)
	}
	copied["nodeName"], copied["serviceAccountName"] = node, account
	delete(copied, "serviceAccount")    // the old name of the same field
	delete(copied, "priorityClassName") // its controller is not here
	made := c.api.do(t, "POST", "/api/v1/namespaces/sallyport/pods", map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name}, "spec": copied})
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": at[string](t, made, "metadata", "uid")}
}

// token asks for a token. Without an audience it is for the API server.
func (c *cluster) token(t *testing.T, account, audience string, boundTo map[string]any) string {
	t.Helper()
	spec := map[string]any{"expirationSeconds": 3600}
	if audience != "" {
		spec["audiences"] = []string{audience}
	}
	if boundTo != nil {
		spec["boundObjectRef"] = boundTo
	}
	answer := c.api.do(t, "POST", "/api/v1/namespaces/sallyport/serviceaccounts/"+account+"/token",
		map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
	return at[string](t, answer, "status", "token")
}

// audience is what the DaemonSet's projected volume asks for.
func (c *cluster) audience(t *testing.T) string {
	t.Helper()
	for _, v := range at[[]any](t, c.daemonSet, "spec", "template", "spec", "volumes") {
		if at[string](t, v, "name") == "enrolment" {
			return at[string](t, v, "projected", "sources", 0, "serviceAccountToken", "audience")
		}
	}
	t.Fatal("the DaemonSet has no volume for enrolment")
	return ""
}

// config is the shipped agent's configuration with paths of a node's own.
func (c *cluster) config(t *testing.T, node, token string) string {
	t.Helper()
	cfg := c.agentYAML
	cfg["state_dir"], cfg["metrics"] = c.path(node), freeAddr(t)
	of := at[map[string]any](t, cfg, "deliver", "collector")
	of["url"] = "https://" + c.agentAddr
	k := at[map[string]any](t, of, "kubernetes")
	k["token_file"], k["ca_file"] = c.write(t, node+".token", token), c.path("ca.crt")
	return c.write(t, node+".yaml", toYAML(t, cfg))
}

// enrol runs the agent's own command as on a node, with a fresh state.
func (c *cluster) enrol(t *testing.T, node, token string) (string, error) {
	t.Helper()
	if err := os.RemoveAll(c.path(node)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(binaries, "sallyport"), "enrol", "--config", c.config(t, node, token))
	cmd.Env = append(os.Environ(), "SALLYPORT_HOST="+node)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *cluster) mustEnrol(t *testing.T, node, token string) {
	t.Helper()
	if out, err := c.enrol(t, node, token); err != nil || !strings.Contains(out, "enrolled as "+node) {
		t.Fatalf("enrol %s: %v: %s", node, err, out)
	}
}

func (c *cluster) mustRefuse(t *testing.T, why, node, token, code, detail string) {
	t.Helper()
	if out, err := c.enrol(t, node, token); err == nil || !strings.Contains(out, code) || !strings.Contains(out, detail) {
		t.Errorf("%s: %v: %s; want %s: ... %s", why, err, out, code, detail)
	}
}

// TestKubernetesEnrolment enrols agents with tokens that a real API server issues
// and reviews, under the manifests that ship.
func TestKubernetesEnrolment(t *testing.T) {
	c := newCluster(t)
	audience := c.audience(t)
	pod := c.pod(t, "agent-1", "node-1", "sallyport-agent")
	good := c.token(t, "sallyport-agent", audience, pod)
	c.mustEnrol(t, "node-1", good)
	c.reports(t, "node-1")

	c.mustRefuse(t, "another node's name", "node-2", good, rules.CodeNameRefused, `runs on node "node-1"`)
	c.mustRefuse(t, "another audience", "node-1", c.token(t, "sallyport-agent", "somebody-else", pod), rules.CodeTokenRefused, "")
	c.mustRefuse(t, "the API server's audience", "node-1", c.token(t, "sallyport-agent", "", pod), rules.CodeTokenRefused, "")
	c.mustRefuse(t, "bound to no pod", "node-1", c.token(t, "sallyport-agent", audience, nil), rules.CodeTokenRefused, "bound to no pod")
	c.mustRefuse(t, "altered", "node-1", good[:len(good)-10]+"AAAAAAAAAA", rules.CodeTokenRefused, "")
	other := c.pod(t, "other", "node-1", "sallyport-collector")
	c.mustRefuse(t, "another service account", "node-1", c.token(t, "sallyport-collector", audience, other), rules.CodeTokenRefused, "service_accounts")
	gone := c.pod(t, "gone", "node-2", "sallyport-agent")
	late := c.token(t, "sallyport-agent", audience, gone)
	c.mustEnrol(t, "node-2", late)
	c.api.do(t, "DELETE", "/api/v1/namespaces/sallyport/pods/gone?gracePeriodSeconds=0", nil)
	c.eventuallyRefused(t, "node-2", late)

	c.mustEnrol(t, "node-1", good) // its state was wiped
	c.collect(t, "agents", "revoke", "node-1")
	c.mustRefuse(t, "revoked", "node-1", good, rules.CodeRevoked, "readmit node-1")
	c.collect(t, "agents", "readmit", "node-1")
	c.mustEnrol(t, "node-1", good)
	c.mustNotBeAllowedToReview(t, good)
}

// reports has the enrolled identity send a heartbeat.
func (c *cluster) reports(t *testing.T, node string) {
	t.Helper()
	client, url, err := (deliver.CollectorConfig{IdentityDir: filepath.Join(c.path(node), "identity")}).Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for name, want := range map[string]int{node: http.StatusNoContent, "node-9": http.StatusForbidden} {
		text, err := json.Marshal(rules.Heartbeat{Agent: name, Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Post(url+rules.PathHeartbeat, "application/json", bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s's heartbeat as %s: %s, want %d", node, name, res.Status, want)
		}
	}
}

// eventuallyRefused waits until the API server has forgotten that the token was
// good: it remembers for ten seconds.
func (c *cluster) eventuallyRefused(t *testing.T, node, token string) {
	t.Helper()
	c.collector.until(t, "the token of a pod that is gone is refused", func() bool {
		time.Sleep(time.Second) // enrolments are bounded by address
		out, err := c.enrol(t, node, token)
		return err != nil && strings.Contains(out, rules.CodeTokenRefused)
	})
}

// mustNotBeAllowedToReview takes the collector's role away: agents are told to try
// later, and the collector's log says what is missing.
func (c *cluster) mustNotBeAllowedToReview(t *testing.T, token string) {
	t.Helper()
	c.api.do(t, "DELETE", resources["ClusterRoleBinding"]+"/sallyport-collector", nil)
	c.collector.until(t, "the collector's role is gone", func() bool {
		time.Sleep(time.Second) // enrolments are bounded by address
		out, err := c.enrol(t, "node-1", token)
		return err != nil && strings.Contains(out, rules.CodeNotAvailable)
	})
	if log := tail(c.collector.log); !strings.Contains(log, "may not create tokenreviews") {
		t.Errorf("the collector's log does not say why: %s", log)
	}
}

// TestKubernetesAgent runs the agent as the DaemonSet does: it enrols by itself and
// reports under its node's name.
func TestKubernetesAgent(t *testing.T) {
	testenv.Exclusive(t)
	c := newCluster(t)
	token := c.token(t, "sallyport-agent", c.audience(t), c.pod(t, "agent-1", "node-1", "sallyport-agent"))
	c.agentConfig, c.agentState = c.config(t, "node-1", token), c.path("node-1")
	cmd := exec.Command(filepath.Join(binaries, "sallyport"), "agent", "--config", c.agentConfig)
	cmd.Env = append(os.Environ(), "SALLYPORT_HOST=node-1")
	agent := c.launch(t, "sallyport", cmd)
	agent.until(t, "the agent's heartbeat is at the collector", func() bool {
		return strings.Contains(c.collect(t, "agents", "list"), "node-1  reporting")
	})
	if list := c.collect(t, "agents", "list", "-o", "json"); !strings.Contains(list, fmt.Sprintf("%q: %q", "state", "reporting")) {
		t.Errorf("agents: %s", list)
	}
}
