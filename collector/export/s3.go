package export

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Settings are the settings of type "s3".
type s3Settings struct {
	HTTP   httpSettings `yaml:",inline"`
	Bucket string       `yaml:"bucket"`
	Region string       `yaml:"region"`
	// Prefix of the objects' names, without a slash at its end.
	Prefix string `yaml:"prefix"`
	// AccessKey and SecretKeyFile. Both empty: the role of the instance, or of the
	// pod's web identity token.
	AccessKey     string `yaml:"access_key"`
	SecretKeyFile string `yaml:"secret_key_file"`
	// PathStyle names the bucket in the path instead of the host.
	PathStyle bool `yaml:"path_style"`
	// Compression is "gzip", "zstd" or "none".
	Compression string `yaml:"compression"`
}

func readS3Settings(s Settings) (s3Settings, error) {
	cfg := s3Settings{
		HTTP:   httpSettings{URL: "https://s3.amazonaws.com", MaxBody: 64_000_000},
		Region: "us-east-1", Prefix: "sallyport", Compression: "gzip",
	}
	if err := s.read(&cfg); err != nil {
		return cfg, err
	}
	switch {
	case cfg.Bucket == "":
		return cfg, errors.New("settings.bucket is missing")
	case cfg.Region == "":
		return cfg, errors.New("settings.region is empty")
	case (cfg.AccessKey == "") != (cfg.SecretKeyFile == ""):
		return cfg, errors.New("settings: give access_key and secret_key_file together")
	case strings.HasPrefix(cfg.Prefix, "/") || strings.HasSuffix(cfg.Prefix, "/"):
		return cfg, fmt.Errorf("settings.prefix %q must not begin or end with a slash", cfg.Prefix)
	}
	if _, _, err := pack(cfg.Compression, nil); err != nil {
		return cfg, err
	}
	if u, err := url.Parse(cfg.HTTP.URL); err == nil && strings.Trim(u.Path, "/") != "" {
		return cfg, fmt.Errorf("settings.url %q must have no path", cfg.HTTP.URL)
	}
	return cfg, errors.Join(cfg.HTTP.validate(), absolute("settings.secret_key_file", cfg.SecretKeyFile))
}

func checkS3(s Settings) error {
	_, err := readS3Settings(s)
	return err
}

// s3 writes a batch as objects, one a day, one finding a line. The name comes
// from what is in it: the same batch sent again overwrites itself. A new revision
// is a line in a later object.
type s3 struct {
	cfg       s3Settings
	format    Format
	client    *minio.Client
	transport *http.Transport
}

func openS3(o opening) (Exporter, error) {
	cfg, err := readS3Settings(o.settings)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(cfg.HTTP.URL)
	if err != nil {
		return nil, fmt.Errorf("read URL: %w", err)
	}
	c, err := cfg.HTTP.TLS.config()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute, DisableCompression: true}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: cfg.credentials(), Secure: u.Scheme == "https", Transport: transport, Region: cfg.Region, BucketLookup: lookup,
		MaxRetries: 1, // the runner tries again
	})
	if err != nil {
		return nil, fmt.Errorf("make S3 client: %w", err)
	}
	return &s3{cfg, o.format, client, transport}, nil
}

func (c s3Settings) credentials() *credentials.Credentials {
	if c.AccessKey == "" {
		return credentials.NewIAM("")
	}
	return credentials.New(&keyFile{c.AccessKey, c.SecretKeyFile})
}

// keyFile reads the secret key anew for each request.
type keyFile struct{ id, path string }

func (k *keyFile) Retrieve() (credentials.Value, error) {
	secret, err := readSecret(k.path)
	return credentials.Value{AccessKeyID: k.id, SecretAccessKey: secret, SignerType: credentials.SignatureV4}, err
}

func (k *keyFile) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return k.Retrieve()
}

func (k *keyFile) IsExpired() bool { return true }

func (x *s3) Close() error {
	x.transport.CloseIdleConnections()
	return nil
}

func (x *s3) Export(ctx context.Context, items []Item) error {
	return deliver(ctx, x.format, items, x.cfg.HTTP.MaxBody, x.send)
}

// send writes the lines of each day as one object.
func (x *s3) send(ctx context.Context, lines []line) ([]RefusedItem, error) {
	var days []string
	texts := map[string][]byte{}
	for _, l := range lines {
		date := l.item.Finding.Created.UTC().Format(time.DateOnly)
		if _, ok := texts[date]; !ok {
			days = append(days, date)
		}
		texts[date] = append(append(texts[date], l.text...), '\n')
	}
	for _, date := range days {
		if err := x.put(ctx, date, texts[date]); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (x *s3) put(ctx context.Context, date string, text []byte) error {
	packed, ending, err := pack(x.cfg.Compression, text)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	name := strings.TrimPrefix(x.cfg.Prefix+"/date="+date+"/"+hex.EncodeToString(sum[:16])+x.suffix()+ending, "/")
	_, err = x.client.PutObject(ctx, x.cfg.Bucket, name, bytes.NewReader(packed), int64(len(packed)), minio.PutObjectOptions{
		ContentType: "application/octet-stream", DisableMultipart: true,
	})
	if err == nil {
		return nil
	}
	var refusal minio.ErrorResponse
	if errors.As(err, &refusal) && refusal.Code == "EntityTooLarge" {
		return &permanent{"receiver answered " + refusal.Error()}
	}
	return fmt.Errorf("put object: %w", err)
}

// suffix says what is in an object.
func (x *s3) suffix() string {
	switch x.format.(type) {
	case csvFormat:
		return ".csv"
	case cefFormat, leefFormat:
		return ".log"
	}
	return ".jsonl"
}

// pack compresses, and gives the ending that says so.
func pack(compression string, text []byte) ([]byte, string, error) {
	switch compression {
	case "none":
		return text, "", nil
	case "gzip":
		packed, err := compressed(text)
		return packed, ".gz", err
	case "zstd":
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, "", fmt.Errorf("compress object: %w", err)
		}
		defer e.Close()
		return e.EncodeAll(text, nil), ".zst", nil
	}
	return nil, "", fmt.Errorf("settings.compression %q is unknown; give gzip, zstd or none", compression)
}
