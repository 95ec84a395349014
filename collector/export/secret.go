package export

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSecret bounds a secret's file.
const maxSecret = 64 << 10

// readSecret reads a secret each time it is used, so that a new one counts at
// once. The line end that editors leave is no part of it.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("read secret: %w", err)
	case len(text) > maxSecret:
		return "", fmt.Errorf("read secret: %s is longer than %d bytes", path, maxSecret)
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) == 0 {
		return "", fmt.Errorf("read secret: %s is empty", path)
	}
	return string(text), nil
}

// secretFile checks the path of a secret that must be given.
func secretFile(name, path string) error {
	if path == "" {
		return errors.New(name + " is missing; give the path of a file")
	}
	return absolute(name, path)
}
