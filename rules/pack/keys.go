package pack

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// maxKeyFile bounds key, chain and state files.
const maxKeyFile = 1 << 20

// WriteKeyPair makes a key: PREFIX.key (PKCS #8 PEM, for its owner only) and
// PREFIX.pub (PKIX PEM). It never overwrites a file.
func WriteKeyPair(prefix string) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	if err := writeNew(prefix+".key", "PRIVATE KEY", der, 0o600); err != nil {
		return nil, err
	}
	if der, err = x509.MarshalPKIXPublicKey(public); err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return public, writeNew(prefix+".pub", "PUBLIC KEY", der, 0o644)
}

func writeNew(path, kind string, der []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}

// ReadPrivateKey reads a PREFIX.key.
func ReadPrivateKey(path string) (ed25519.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read key %s: not an ed25519 key", path)
	}
	return private, nil
}

// ReadPublicKey reads a PREFIX.pub: the root to pin, or a key to delegate to.
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	der, err := readPEM(path, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	public, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("read key %s: not an ed25519 key", path)
	}
	return public, nil
}

func readPEM(path, kind string) ([]byte, error) {
	data, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != kind || len(rest) != 0 {
		return nil, fmt.Errorf("read key %s: it must hold one PEM block %q", path, kind)
	}
	return block.Bytes, nil
}

func readSmall(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxKeyFile {
		return nil, fmt.Errorf("%s: %w", path, ErrTooBig)
	}
	return os.ReadFile(path)
}

// ReadChain reads the statements of a signer from a JSON file.
func ReadChain(path string) ([]Signed, error) {
	var chain []Signed
	err := readJSON(path, &chain)
	return chain, err
}

// WriteChain writes them.
func WriteChain(path string, chain []Signed) error { return writeJSON(path, chain) }

// ReadSeen reads what was in force so far. A file that is not there is nothing
// seen; one that cannot be read is an error, since it guards against going back.
func ReadSeen(path string) (Seen, error) {
	var s Seen
	err := readJSON(path, &s)
	if errors.Is(err, os.ErrNotExist) {
		return Seen{}, nil
	}
	return s, err
}

// WriteSeen replaces the file at once, so that a crash leaves the old or the new.
func WriteSeen(path string, s Seen) error { return writeJSON(path, s) }

func readJSON(path string, to any) error {
	data, err := readSmall(path)
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if err := strictJSON(data, to); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer os.Remove(f.Name()) // a no-op once renamed
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
