package pack

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	manifestName  = "manifest.json"
	signatureName = "signature.json"
)

// pathForm are the paths a pack may hold: two levels, so that no path can lead
// out of anywhere.
var pathForm = regexp.MustCompile(`^(entities|indicators|detections)/[a-z0-9][a-z0-9._-]{0,120}$|^policies/(allow|approved)\.yaml$|^asn\.json$`)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// ValidName says whether a pack may have this name. Such a name is a file name on
// any system.
func ValidName(name string) bool { return nameForm.MatchString(name) }

// read reads an archive whole and checks it against its manifest. accept judges
// the manifest and the signature before a file is unpacked.
func read(r io.Reader, accept func(*Pack, *signature) error) (*Pack, *signature, error) {
	tr, stop, err := untar(r)
	if err != nil {
		return nil, nil, err
	}
	defer stop()
	manifest, err := entry(tr, manifestName, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	p := &Pack{manifest: manifest, files: map[string][]byte{}}
	if err := strictJSON(manifest, &p.Manifest); err != nil {
		return nil, nil, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	if err := p.Manifest.validate(); err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(manifest)
	p.Digest = hex.EncodeToString(sum[:])
	sig := &signature{manifest: manifest}
	raw, err := entry(tr, signatureName, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	if err := strictJSON(raw, sig); err != nil {
		return nil, nil, fmt.Errorf("%w: signature: %w", ErrCorrupt, err)
	}
	if err := accept(p, sig); err != nil {
		return nil, nil, err
	}
	for _, f := range p.Manifest.Files {
		if p.files[f.Path], err = checked(tr, f); err != nil {
			return nil, nil, err
		}
	}
	if _, err := tr.Next(); !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("%w: more files than the manifest names", ErrCorrupt)
	}
	return p, sig, nil
}

func untar(r io.Reader) (*tar.Reader, func(), error) {
	d, err := zstd.NewReader(&capped{r: r, left: MaxArchive},
		zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return tar.NewReader(&capped{r: d, left: maxContent + maxManifest*2 + maxFiles*1024}), d.Close, nil
}

// capped fails with ErrTooBig instead of ending early.
type capped struct {
	r    io.Reader
	left int64
}

// Read reads up to the cap.
func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, ErrTooBig
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// entry reads the next entry, which must be a plain file of this name.
func entry(tr *tar.Reader, name string, limit int64) ([]byte, error) {
	h, err := tr.Next()
	if err != nil {
		return nil, corrupt(err, "read "+name)
	}
	if h.Name != name || h.Typeflag != tar.TypeReg {
		return nil, fmt.Errorf("%w: %q stands where the file %s should", ErrCorrupt, cut(h.Name), name)
	}
	if h.Size > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrTooBig, name, h.Size)
	}
	data, err := io.ReadAll(io.LimitReader(tr, limit))
	if err != nil {
		return nil, corrupt(err, "read "+name)
	}
	return data, nil
}

func checked(tr *tar.Reader, f File) ([]byte, error) {
	data, err := entry(tr, f.Path, f.Size)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if int64(len(data)) != f.Size || hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, fmt.Errorf("%w: %s is not what the manifest says", ErrCorrupt, f.Path)
	}
	return data, nil
}

func corrupt(err error, doing string) error {
	if errors.Is(err, ErrTooBig) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return fmt.Errorf("%s: %w", doing, ErrTooBig)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, doing, err)
}

func (m *Manifest) validate() error {
	if m.Format != Format {
		return fmt.Errorf("%w: %d, known is %d", ErrFormat, m.Format, Format)
	}
	var total int64
	seen := map[string]bool{}
	for _, f := range m.Files {
		if !pathForm.MatchString(f.Path) || path.Clean(f.Path) != f.Path || strings.Contains(f.Path, "..") || seen[f.Path] {
			return fmt.Errorf("%w: path %q is not allowed", ErrCorrupt, cut(f.Path))
		}
		if f.Size < 0 || f.Size > maxContent || total+f.Size > maxContent {
			return fmt.Errorf("%w: more than %d bytes unpacked", ErrTooBig, maxContent)
		}
		seen[f.Path] = true
		total += f.Size
	}
	switch {
	case len(m.Files) > maxFiles:
		return fmt.Errorf("%w: %d files", ErrTooBig, len(m.Files))
	case !nameForm.MatchString(m.Name):
		return fmt.Errorf("%w: name %q: use lower-case letters, digits and hyphens", ErrCorrupt, cut(m.Name))
	case m.Version == 0:
		return fmt.Errorf("%w: versions begin at 1", ErrCorrupt)
	case m.Created.IsZero() || !m.Expires.After(m.Created):
		return fmt.Errorf("%w: it must be created, and expire after that", ErrCorrupt)
	case m.RollbackOf >= m.Version:
		return fmt.Errorf("%w: a rollback needs a higher version than the %d it goes back to", ErrCorrupt, m.RollbackOf)
	}
	return nil
}

// strictJSON reads one JSON value, without unknown keys and without anything
// behind it.
func strictJSON(data []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the value")
	}
	return nil
}

// write writes an archive. The same content gives the same bytes.
func (p *Pack) write(w io.Writer, sig *signature) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxWindow), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return fmt.Errorf("compress pack: %w", err)
	}
	tw := tar.NewWriter(z)
	raw, err := json.Marshal(sig)
	if err != nil {
		return fmt.Errorf("encode signature: %w", err)
	}
	put := func(name string, data []byte) error {
		h := &tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644, ModTime: p.Manifest.Created.UTC().Truncate(time.Second), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if _, err := tw.Write(data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}
	if err := put(manifestName, p.manifest); err != nil {
		return err
	}
	if err := put(signatureName, raw); err != nil {
		return err
	}
	for _, f := range p.Manifest.Files {
		if err := put(f.Path, p.files[f.Path]); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	return nil
}

// cut makes a hostile text short enough for an error, which is quoted besides.
func cut(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
