package export

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// elasticSettings are the settings of type "elasticsearch".
type elasticSettings struct {
	HTTP httpSettings `yaml:",inline"`
	// DataStream that documents go to.
	DataStream string `yaml:"data_stream"`
	// Template puts an index template for the data stream before the first
	// document. Without it, the operator keeps one.
	Template bool `yaml:"template"`
	// APIKeyFile holds an Elasticsearch API key as "encoded" gives it, or User and
	// PasswordFile name a user. OpenSearch has users only.
	APIKeyFile   string `yaml:"api_key_file"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
}

var dataStreamName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,240}$`)

func readElasticSettings(s Settings) (elasticSettings, error) {
	cfg := elasticSettings{HTTP: httpSettings{MaxBody: 5_000_000}, DataStream: "logs-sallyport.finding-default", Template: true}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	switch {
	case !dataStreamName.MatchString(cfg.DataStream):
		return cfg, fmt.Errorf("settings.data_stream %q must be lower-case letters, digits, dots, _ and -", cfg.DataStream)
	case cfg.APIKeyFile != "" && cfg.User != "":
		return cfg, errors.New("settings: give api_key_file, or user and password_file")
	case (cfg.User == "") != (cfg.PasswordFile == ""):
		return cfg, errors.New("settings: give user and password_file together")
	}
	return cfg, errors.Join(cfg.HTTP.validate(), absolute("settings.api_key_file", cfg.APIKeyFile), absolute("settings.password_file", cfg.PasswordFile))
}

func checkElastic(s Settings) error {
	_, err := readElasticSettings(s)
	return err
}

// elastic writes to a data stream of Elasticsearch or OpenSearch. A document's id
// is the agent's name and the finding's id and revision: a repeat meets itself, a new revision is a
// new document.
type elastic struct {
	cfg      elasticSettings
	format   Format
	client   *http.Client
	prepared bool // the template is there
}

func openElastic(o opening) (Exporter, error) {
	cfg, err := readElasticSettings(o.settings)
	if err != nil {
		return nil, err
	}
	client, err := cfg.HTTP.client()
	if err != nil {
		return nil, err
	}
	return &elastic{cfg: cfg, format: o.format, client: client}, nil
}

func (e *elastic) Close() error {
	e.client.CloseIdleConnections()
	return nil
}

func (e *elastic) Export(ctx context.Context, items []Item) error {
	if err := e.prepare(ctx); err != nil {
		return fmt.Errorf("put index template: %w", err)
	}
	return deliver(ctx, e.format, items, e.cfg.HTTP.MaxBody, e.send)
}

// prepare puts the index template once. Its refusal is the operator's matter and
// not the findings'.
func (e *elastic) prepare(ctx context.Context) error {
	if e.prepared || !e.cfg.Template {
		return nil
	}
	body, err := elasticTemplate(e.cfg.DataStream).appendTo(nil)
	if err != nil {
		return err
	}
	a, err := e.ask(ctx, http.MethodPut, "/_index_template/sallyport-"+url.PathEscape(e.cfg.DataStream), "application/json", body)
	if err != nil {
		return err
	}
	if err := a.outcome(ctx); err != nil {
		return errors.New(err.Error())
	}
	e.prepared = true
	return nil
}

func (e *elastic) ask(ctx context.Context, method, path, contentType string, body []byte) (answer, error) {
	header := http.Header{"Content-Type": {contentType}}
	switch {
	case e.cfg.APIKeyFile != "":
		key, err := readSecret(e.cfg.APIKeyFile)
		if err != nil {
			return answer{}, err
		}
		header.Set("Authorization", "ApiKey "+key)
	case e.cfg.User != "":
		password, err := readSecret(e.cfg.PasswordFile)
		if err != nil {
			return answer{}, err
		}
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(e.cfg.User+":"+password)))
	}
	return request(ctx, e.client, method, e.cfg.HTTP.at(path), header, body)
}

// bulkAnswer is what _bulk says of each item.
type bulkAnswer struct {
	Errors bool `json:"errors"`
	Items  []map[string]struct {
		Status int `json:"status"`
		Error  struct {
			Type   string `json:"type"`
			Reason string `json:"reason"`
		} `json:"error"`
	} `json:"items"`
}

func (e *elastic) send(ctx context.Context, lines []line) ([]RefusedItem, error) {
	var body []byte
	for _, l := range lines {
		action := object{"create": object{"_index": e.cfg.DataStream, "_id": revision(&l.item.Finding)}}
		var err error
		if body, err = action.appendTo(body); err != nil {
			return nil, err
		}
		body = append(body, '\n')
		body = append(stamped(body, l), '\n')
	}
	a, err := e.ask(ctx, http.MethodPost, "/_bulk", "application/x-ndjson", body)
	if err != nil {
		return nil, err
	}
	if err := a.outcome(ctx); err != nil {
		return nil, err
	}
	var result bulkAnswer
	if err := json.Unmarshal(a.body, &result); err != nil {
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	return result.sort(lines)
}

// sort parks what is refused for good. When anything must be sent again,
// everything is: what arrived then conflicts with itself.
func (b bulkAnswer) sort(lines []line) ([]RefusedItem, error) {
	if len(b.Items) != len(lines) {
		return nil, fmt.Errorf("receiver answered for %d documents of %d", len(b.Items), len(lines))
	}
	var refused []RefusedItem
	for i, item := range b.Items {
		r := item["create"]
		reason := fmt.Sprintf("receiver answered %d %s: %s", r.Status, r.Error.Type, cut(clean(r.Error.Reason, ""), 500))
		switch {
		case r.Status/100 == 2, r.Status == http.StatusConflict:
		case r.Status == http.StatusBadRequest, r.Status == http.StatusRequestEntityTooLarge, r.Status == http.StatusUnprocessableEntity:
			refused = append(refused, RefusedItem{lines[i].index, reason})
		default: // busy, or not allowed, or not there: an operator mends the latter
			return nil, errors.New(reason)
		}
	}
	return refused, nil
}

// stamped appends the document with the @timestamp that a data stream wants.
func stamped(dst []byte, l line) []byte {
	if strings.HasPrefix(string(l.text), `{"@timestamp":`) {
		return append(dst, l.text...)
	}
	dst = append(dst, `{"@timestamp":"`+stamp(l.item.Finding.Created)+`"`...)
	if len(l.text) > len("{}") {
		dst = append(dst, ',')
	}
	return append(dst, l.text[1:]...)
}

// elasticTemplate maps text to keywords, and addresses and dates to what they
// are: ECS's own types for the fields that are searched. It is above the
// receiver's own template for logs-*-* (priority 100).
func elasticTemplate(dataStream string) object {
	keyword := object{"type": "keyword", "ignore_above": 1024}
	properties := object{
		"@timestamp": object{"type": "date"},
		"message":    object{"type": "text"},
		"event":      object{"properties": object{"created": object{"type": "date"}, "start": object{"type": "date"}, "end": object{"type": "date"}}},
		"network":    object{"properties": object{"bytes": object{"type": "long"}, "packets": object{"type": "long"}}},
		"related":    object{"properties": object{"ip": object{"type": "ip"}}},
		"threat":     object{"properties": object{"enrichments": object{"type": "nested"}}},
	}
	for _, side := range []string{"source", "destination"} {
		properties[side] = object{"properties": object{"ip": object{"type": "ip"}, "port": object{"type": "long"}, "bytes": object{"type": "long"}}}
	}
	return object{
		"index_patterns": []string{dataStream},
		"data_stream":    object{},
		"priority":       200,
		"_meta":          object{"managed_by": "sallyport"},
		"template": object{"mappings": object{
			"dynamic_templates": []object{{"text_as_keyword": object{"match_mapping_type": "string", "mapping": keyword}}},
			"date_detection":    false,
			"properties":        properties,
		}},
	}
}
