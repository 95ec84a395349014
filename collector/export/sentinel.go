package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
)

// sentinelSettings are the settings of type "sentinel". The URL is the data
// collection endpoint's (or the rule's own) logs ingestion endpoint.
type sentinelSettings struct {
	HTTP httpSettings `yaml:",inline"`
	// Rule is the data collection rule's immutable id, "dcr-...".
	Rule string `yaml:"rule"`
	// Stream of the rule, "Custom-...".
	Stream string `yaml:"stream"`
	// Tenant and ClientID of the application that may publish.
	Tenant   string `yaml:"tenant"`
	ClientID string `yaml:"client_id"`
	// ClientSecretFile holds the application's secret, or AssertionFile the token
	// of a workload identity (AKS projects one and renews it).
	ClientSecretFile string `yaml:"client_secret_file"`
	AssertionFile    string `yaml:"assertion_file"`
	// Authority gives tokens, and Scope is what they are for; other clouds have
	// others.
	Authority string `yaml:"authority"`
	Scope     string `yaml:"scope"`
}

var sentinelStream = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,200}$`)

func readSentinelSettings(s Settings) (sentinelSettings, error) {
	cfg := sentinelSettings{
		HTTP: httpSettings{MaxBody: 900_000}, Stream: "Custom-SallyportFindings",
		Authority: "https://login.microsoftonline.com", Scope: "https://monitor.azure.com/.default",
	}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	switch {
	case cfg.Rule == "" || cfg.Tenant == "" || cfg.ClientID == "":
		return cfg, errors.New("settings: rule, tenant and client_id must be given")
	case !sentinelStream.MatchString(cfg.Stream):
		return cfg, fmt.Errorf("settings.stream %q is not the name of a stream", cfg.Stream)
	case (cfg.ClientSecretFile == "") == (cfg.AssertionFile == ""):
		return cfg, errors.New("settings: give client_secret_file or assertion_file")
	case cfg.HTTP.MaxBody > sentinelBody:
		return cfg, fmt.Errorf("settings.max_body is %d; the API takes %d at most", cfg.HTTP.MaxBody, sentinelBody)
	}
	return cfg, errors.Join(cfg.HTTP.validate(), checkURL("settings.authority", cfg.Authority, cfg.HTTP.Plaintext),
		absolute("settings.client_secret_file", cfg.ClientSecretFile), absolute("settings.assertion_file", cfg.AssertionFile))
}

func checkSentinel(s Settings) error {
	_, err := readSentinelSettings(s)
	return err
}

// sentinelBody is what one call may carry, before compression.
const sentinelBody = 1_000_000

// sentinelVersion of the Logs Ingestion API.
const sentinelVersion = "2023-01-01"

// sentinel sends rows to Microsoft Sentinel by a data collection rule. A new
// revision is a new row with the same FindingId.
type sentinel struct {
	cfg    sentinelSettings
	format Format
	client *http.Client
	token  azureToken
}

func openSentinel(o opening) (Exporter, error) {
	cfg, err := readSentinelSettings(o.settings)
	if err != nil {
		return nil, err
	}
	client, err := cfg.HTTP.client()
	if err != nil {
		return nil, err
	}
	return &sentinel{cfg: cfg, format: o.format, client: client}, nil
}

func (s *sentinel) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s *sentinel) Export(ctx context.Context, items []Item) error {
	return deliver(ctx, s.format, items, s.cfg.HTTP.MaxBody, s.send)
}

func (s *sentinel) send(ctx context.Context, lines []line) ([]RefusedItem, error) {
	body := []byte{'['}
	for i, l := range lines {
		if i > 0 {
			body = append(body, ',')
		}
		var err error
		if body, err = s.row(l).appendTo(body); err != nil {
			return nil, err
		}
	}
	body = append(body, ']')
	if len(body) > sentinelBody {
		return nil, &permanent{fmt.Sprintf("%d bytes are more than one call takes (%d); filter with without_evidence", len(body), sentinelBody)}
	}
	token, err := s.token.get(ctx, s.client, s.cfg)
	if err != nil {
		return nil, err
	}
	if body, err = compressed(body); err != nil {
		return nil, err
	}
	header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	path := "/dataCollectionRules/" + url.PathEscape(s.cfg.Rule) + "/streams/" + url.PathEscape(s.cfg.Stream) + "?api-version=" + sentinelVersion
	a, err := request(ctx, s.client, http.MethodPost, s.cfg.HTTP.at(path), header, body)
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusUnauthorized {
		s.token = azureToken{} // withdrawn before its time
	}
	return nil, a.outcome(ctx)
}

// row has the columns that docs/exporters.md declares for the stream.
func (s *sentinel) row(l line) object {
	f := &l.item.Finding
	r := object{
		"TimeGenerated": stamp(f.Created), "FindingId": f.ID, "Revision": f.Revision, "State": f.State,
		"Severity": string(f.Severity), "Title": f.Title, "RuleId": f.Rule.ID, "Agent": f.Agent.Name, "Test": f.Test,
	}
	if l.json(s.format) {
		r["Finding"] = json.RawMessage(l.text)
	} else {
		r["Finding"] = string(l.text)
	}
	return r.put("Computer", f.Observation.Host)
}
