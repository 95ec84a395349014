package deliver

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"sallyport/rules"
)

// PackRootFile, beside the identity, is the public key of the root that packs are
// signed under, as the collector gave it at enrolment.
const PackRootFile = "pack-root.pub"

// maxRoot bounds the key's file, in bytes.
const maxRoot = 64 << 10

// pinRoot asks for the root over a connection that the identity authenticates
// both ways. A collector that offers no packs has none.
func pinRoot(ctx context.Context, id *Identity, dir string) error {
	client := newClient(id.tlsConfig())
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(id.URL, "/")+rules.PathPackRoot, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return explain(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil
	default:
		return fmt.Errorf("the collector answered %d", resp.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRoot))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if err := checkRoot(text); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeFileAtomic(filepath.Join(dir, PackRootFile), text, 0o644)
}

func checkRoot(text []byte) error {
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("the collector's answer is no key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("the collector's answer is no key: %w", err)
	}
	if _, ok := key.(ed25519.PublicKey); !ok {
		return errors.New("the collector's answer is no ed25519 key")
	}
	return nil
}
