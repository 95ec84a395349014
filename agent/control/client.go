package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sallyport/rules"
)

// answerLimit bounds what the client reads, in bytes.
const answerLimit = 64 << 20

// ErrNotRunning means that no agent answers on the socket.
var ErrNotRunning = errors.New("no agent is running")

// Client speaks to a running agent.
type Client struct {
	path string
	http *http.Client
}

// NewClient prepares a client for the agent that keeps its state in stateDir.
func NewClient(stateDir string) *Client {
	path := filepath.Join(stateDir, SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Findings gives the agent's newest findings, newest first.
func (c *Client) Findings(ctx context.Context) ([]rules.Finding, error) {
	var out []rules.Finding
	return out, c.call(ctx, requestLimit, http.MethodGet, "/findings", &out)
}

// Status gives the agent's state as it would tell its collector.
func (c *Client) Status(ctx context.Context) (rules.Heartbeat, error) {
	var out rules.Heartbeat
	return out, c.call(ctx, requestLimit, http.MethodGet, "/status", &out)
}

// Reload has the agent read its packs again, and says what changed. force takes a
// set that would be refused for holding too little.
func (c *Client) Reload(ctx context.Context, force bool) (string, error) {
	path := "/reload"
	if force {
		path += "?" + paramForce
	}
	var out string
	return out, c.call(ctx, reloadLimit, http.MethodPost, path, &out)
}

func (c *Client) call(ctx context.Context, limit time.Duration, method, path string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w (nothing answers on %s)", ErrNotRunning, c.path)
	}
	if err != nil {
		return fmt.Errorf("ask the agent: %w", err)
	}
	defer response.Body.Close()
	body := io.LimitReader(response.Body, answerLimit)
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 4096))
		return fmt.Errorf("the agent answered: %s", strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return fmt.Errorf("read the agent's answer: %w", err)
	}
	return nil
}
