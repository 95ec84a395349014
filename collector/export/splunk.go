package export

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// splunkSettings are the settings of type "splunk".
type splunkSettings struct {
	HTTP httpSettings `yaml:",inline"`
	// TokenFile holds the HTTP Event Collector token.
	TokenFile string `yaml:"token_file"`
	// Index, Source and Sourcetype of the events; empty: the token's own.
	Index      string `yaml:"index"`
	Source     string `yaml:"source"`
	Sourcetype string `yaml:"sourcetype"`
	// Acknowledge waits until the indexer has the events on disk. The token must
	// have indexer acknowledgement enabled.
	Acknowledge bool `yaml:"acknowledge"`
	// AckInterval is how often the indexer is asked.
	AckInterval time.Duration `yaml:"ack_interval"`
}

func readSplunkSettings(s Settings) (splunkSettings, error) {
	cfg := splunkSettings{
		HTTP: httpSettings{MaxBody: 800_000}, Source: "sallyport", Sourcetype: "sallyport:finding",
		Acknowledge: true, AckInterval: time.Second,
	}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	if cfg.AckInterval < 10*time.Millisecond {
		return cfg, fmt.Errorf("settings.ack_interval is %s; give at least 10ms", cfg.AckInterval)
	}
	return cfg, errors.Join(cfg.HTTP.validate(), secretFile("settings.token_file", cfg.TokenFile))
}

func checkSplunk(s Settings) error {
	_, err := readSplunkSettings(s)
	return err
}

// splunk sends events to Splunk's HTTP Event Collector. A new revision is a new
// event with the same finding_id field.
type splunk struct {
	cfg     splunkSettings
	format  Format
	client  *http.Client
	channel string // of the acknowledgements, a GUID
}

func openSplunk(o opening) (Exporter, error) {
	cfg, err := readSplunkSettings(o.settings)
	if err != nil {
		return nil, err
	}
	client, err := cfg.HTTP.client()
	if err != nil {
		return nil, err
	}
	return &splunk{cfg, o.format, client, guid()}, nil
}

// guid is a random one (RFC 9562 version 4).
func guid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	x := hex.EncodeToString(b[:])
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

func (s *splunk) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

// Export returns when the indexer has every event.
func (s *splunk) Export(ctx context.Context, items []Item) error {
	return deliver(ctx, s.format, items, s.cfg.HTTP.MaxBody, s.send)
}

func (s *splunk) send(ctx context.Context, lines []line) ([]RefusedItem, error) {
	var body []byte
	for _, l := range lines {
		var err error
		if body, err = s.event(l).appendTo(body); err != nil {
			return nil, err
		}
		body = append(body, '\n')
	}
	var taken struct {
		AckID *uint64 `json:"ackId"`
	}
	if err := s.post(ctx, "/services/collector/event", body, &taken); err != nil {
		return nil, err
	}
	if !s.cfg.Acknowledge {
		return nil, nil
	}
	if taken.AckID == nil {
		return nil, errors.New("receiver gave no ackId; enable indexer acknowledgement for the token, or set acknowledge: false")
	}
	return nil, s.acknowledged(ctx, *taken.AckID)
}

// event wraps a document. Its time is the revision's: a finding from history must
// not fall behind what searches look at.
func (s *splunk) event(l line) object {
	f := &l.item.Finding
	e := object{
		"time":   json.Number(strconv.FormatFloat(float64(f.Created.UnixMilli())/1000, 'f', 3, 64)),
		"fields": object{"finding_id": f.ID, "finding_revision": decimal(f.Revision)},
	}
	if l.json(s.format) {
		e["event"] = json.RawMessage(l.text)
	} else {
		e["event"] = string(l.text)
	}
	return e.put("host", f.Observation.Host).put("source", s.cfg.Source).put("sourcetype", s.cfg.Sourcetype).put("index", s.cfg.Index)
}

// json says that the line is a JSON object.
func (l line) json(f Format) bool { return f.ContentType() == "application/json" }

// acknowledged asks until the indexer has the events.
func (s *splunk) acknowledged(ctx context.Context, id uint64) error {
	tick := time.NewTicker(s.cfg.AckInterval)
	defer tick.Stop()
	for {
		var state struct {
			Acks map[string]bool `json:"acks"`
		}
		if err := s.post(ctx, "/services/collector/ack", []byte(`{"acks":[`+decimal(id)+`]}`), &state); err != nil {
			return fmt.Errorf("ask for acknowledgement: %w", err)
		}
		if state.Acks[decimal(id)] {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for acknowledgement %d: %w", id, context.Cause(ctx))
		}
	}
}

// Codes of the collector's answers that speak of the events themselves; all
// others are of the token, the index or the load.
const (
	hecInvalidFormat  = 6
	hecEventRequired  = 12
	hecEventBlank     = 13
	hecInvalidIndexed = 15
)

func (s *splunk) post(ctx context.Context, path string, body []byte, out any) error {
	token, err := readSecret(s.cfg.TokenFile)
	if err != nil {
		return err
	}
	header := http.Header{
		"Authorization": {"Splunk " + token}, "Content-Type": {"application/json"}, "X-Splunk-Request-Channel": {s.channel},
	}
	a, err := request(ctx, s.client, http.MethodPost, s.cfg.HTTP.at(path), header, body)
	if err != nil {
		return err
	}
	if err := a.outcome(ctx); err != nil {
		var refusal struct {
			Code int `json:"code"`
		}
		if a.status == http.StatusBadRequest && json.Unmarshal(a.body, &refusal) == nil {
			switch refusal.Code {
			case hecInvalidFormat, hecEventRequired, hecEventBlank, hecInvalidIndexed:
			default:
				return errors.New(err.Error()) // not of the events: it is mended at the receiver
			}
		}
		return err
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
