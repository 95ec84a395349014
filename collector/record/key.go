package record

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

const (
	keyFile        = "record.key" // ed25519, as of golang.org/x/mod/sumdb/note
	publicFile     = "record.pub"
	checkpointFile = "checkpoints.jsonl"
)

// Folder is where the record's key and the file of its checkpoints lie.
func Folder(state string) string { return filepath.Join(state, "record") }

// Names of the record's files in a backup.
const (
	KeyName         = "record/" + keyFile
	PublicName      = "record/" + publicFile
	CheckpointsName = "record/" + checkpointFile
)

// Files are what a backup holds beside the store, by their names in it.
func Files(state string) map[string]string {
	folder := Folder(state)
	return map[string]string{
		KeyName: filepath.Join(folder, keyFile), PublicName: filepath.Join(folder, publicFile), CheckpointsName: filepath.Join(folder, checkpointFile),
	}
}

// Key signs checkpoints.
type Key struct {
	signer   note.Signer
	Verifier string // the public part, for those who verify
}

// OpenKey reads the collector's key, and makes it where there is none.
func OpenKey(state string) (Key, error) {
	folder := Folder(state)
	k, err := ReadKey(state)
	if !errors.Is(err, os.ErrNotExist) {
		return k, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Key{}, fmt.Errorf("make record folder: %w", err)
	}
	secret, public, err := note.GenerateKey(rand.Reader, keyName())
	if err != nil {
		return Key{}, fmt.Errorf("make record key: %w", err)
	}
	// The public part first: a key without it would have to be thrown away.
	if err := writeNew(filepath.Join(folder, publicFile), public+"\n"); err != nil {
		return Key{}, err
	}
	if err := writeNew(filepath.Join(folder, keyFile), secret+"\n"); err != nil {
		return Key{}, err
	}
	return ReadKey(state)
}

// ReadKey reads the collector's key.
func ReadKey(state string) (Key, error) {
	secret, err := os.ReadFile(filepath.Join(Folder(state), keyFile))
	if err != nil {
		return Key{}, fmt.Errorf("read record key: %w", err)
	}
	public, err := ReadVerifier(state)
	if err != nil {
		return Key{}, err
	}
	signer, err := note.NewSigner(strings.TrimSpace(string(secret)))
	if err != nil {
		return Key{}, fmt.Errorf("read record key: %w", err)
	}
	v, err := note.NewVerifier(public)
	if err != nil {
		return Key{}, fmt.Errorf("read record's public key: %w", err)
	}
	if v.Name() != signer.Name() || v.KeyHash() != signer.KeyHash() {
		return Key{}, fmt.Errorf("read record key: %s and %s are not of one pair", keyFile, publicFile)
	}
	return Key{signer, public}, nil
}

// ReadVerifier reads the public part alone.
func ReadVerifier(state string) (string, error) {
	public, err := os.ReadFile(filepath.Join(Folder(state), publicFile))
	if err != nil {
		return "", fmt.Errorf("read record's public key: %w", err)
	}
	return strings.TrimSpace(string(public)), nil
}

// writeNew writes a file that only its owner reads, whole or not at all.
func writeNew(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("make record key: %w", err)
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("make record key: %w", err), os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("make record key: %w", err)
	}
	return nil
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9.-]`)

// keyName tells one collector's key from another's.
func keyName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "collector"
	}
	return "sallyport-record/" + notInName.ReplaceAllString(host, "-")
}
