package export

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// webhookSettings are the settings of type "webhook".
type webhookSettings struct {
	HTTP httpSettings `yaml:",inline"`
	// SecretFile holds the key that requests are signed with: "whsec_" and base64,
	// or text of at least 24 bytes.
	SecretFile string `yaml:"secret_file"`
	// TokenFile holds a bearer token. Empty: none is sent.
	TokenFile string `yaml:"token_file"`
}

func readWebhookSettings(s Settings) (webhookSettings, error) {
	cfg := webhookSettings{HTTP: httpSettings{MaxBody: 1_000_000}}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	return cfg, errors.Join(cfg.HTTP.validate(), secretFile("settings.secret_file", cfg.SecretFile), absolute("settings.token_file", cfg.TokenFile))
}

func checkWebhook(s Settings) error {
	_, err := readWebhookSettings(s)
	return err
}

// webhook posts one revision a request, signed as standardwebhooks.com says. The
// id is the revision's, so that a receiver knows a repeat and a replay.
type webhook struct {
	cfg    webhookSettings
	format Format
	client *http.Client
	taken  map[string]bool // of the batch that could not be finished, by message id
}

func openWebhook(o opening) (Exporter, error) {
	cfg, err := readWebhookSettings(o.settings)
	if err != nil {
		return nil, err
	}
	client, err := cfg.HTTP.client()
	if err != nil {
		return nil, err
	}
	return &webhook{cfg, o.format, client, map[string]bool{}}, nil
}

func (w *webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// Export goes on where an unfinished attempt at the same batch stopped: a slow
// receiver would otherwise never come to its end.
func (w *webhook) Export(ctx context.Context, items []Item) error {
	lines, refused := encode(w.format, items)
	for _, l := range lines {
		id := revision(&l.item.Finding)
		if w.taken[id] {
			continue
		}
		err := w.post(ctx, id, l.text)
		var p *permanent
		if errors.As(err, &p) {
			refused = append(refused, RefusedItem{l.index, p.reason})
			continue
		}
		if err != nil {
			return err
		}
		w.taken[id] = true
	}
	clear(w.taken)
	if len(refused) > 0 {
		return &Refused{refused}
	}
	return nil
}

func (w *webhook) post(ctx context.Context, id string, body []byte) error {
	if len(body) > w.cfg.HTTP.MaxBody {
		return &permanent{fmt.Sprintf("%d bytes are more than settings.max_body", len(body))}
	}
	text, err := readSecret(w.cfg.SecretFile)
	if err != nil {
		return err
	}
	key, err := webhookKey(text)
	if err != nil {
		return err
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	header := http.Header{
		"Content-Type": {w.format.ContentType()},
		"Webhook-Id":   {id}, "Webhook-Timestamp": {at}, "Webhook-Signature": {webhookSignature(key, id, at, body)},
	}
	if w.cfg.TokenFile != "" {
		token, err := readSecret(w.cfg.TokenFile)
		if err != nil {
			return err
		}
		header.Set("Authorization", "Bearer "+token)
	}
	a, err := request(ctx, w.client, http.MethodPost, w.cfg.HTTP.URL, header, body)
	if err != nil {
		return err
	}
	return a.outcome(ctx)
}

// webhookKey reads a secret in the form of the specification, or as it stands.
func webhookKey(text string) ([]byte, error) {
	key := []byte(text)
	if rest, ok := strings.CutPrefix(text, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(rest); err != nil {
			return nil, errors.New("read secret: what follows whsec_ is not base64")
		}
	}
	if len(key) < 24 {
		return nil, fmt.Errorf("read secret: a key of %d bytes is too short; give at least 24", len(key))
	}
	return key, nil
}

// webhookSignature covers the id and the time too: neither can be put on another
// body.
func webhookSignature(key []byte, id, at string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
