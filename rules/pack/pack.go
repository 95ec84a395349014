// Package pack reads and writes packs: versioned, signed sets of entities,
// indicators and detections, as agents take them.
//
// A pack is a tar archive compressed with zstd. manifest.json comes first and
// names every file that follows with its size and SHA-256; signature.json comes
// second and signs the manifest's bytes. So nothing is parsed before its origin
// is known, but the manifest and the signature themselves.
//
// A root key that is kept offline signs statements that let other keys sign
// packs: one for the vendor, one for the site (local). The root's public half
// is pinned at enrolment. A local pack adds entities and detections; it can
// neither remove nor change what the vendor's holds. A pack is never replaced by
// an older version: going back is a higher version with older content.
package pack

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"sallyport/rules"
)

// Format is the version of the archive's layout. It rises when an older reader
// could no longer understand a pack.
const Format = 1

// Limits on what a reader takes: a pack is hostile input until it is verified.
// One in transit may have MaxArchive bytes.
const (
	MaxArchive  = 512 << 20 // bytes on disk
	maxContent  = 1 << 30   // bytes unpacked
	maxManifest = 8 << 20
	maxFiles    = 20_000
	maxWindow   = 8 << 20 // of zstd
)

// Errors that a caller may test.
var (
	ErrUnsigned  = errors.New("pack is not signed")
	ErrUntrusted = errors.New("pack is not signed by a key the root lets sign it")
	ErrCorrupt   = errors.New("pack is corrupt")
	ErrOlder     = errors.New("pack is older than the one in force")
	ErrTooBig    = errors.New("pack is larger than allowed")
	ErrFormat    = errors.New("pack has a format this version does not know")
)

// Role says what a signing key may do.
type Role string

// Roles of a key.
const (
	RoleRoot   Role = "root"   // signs statements; only ever replaced by itself
	RoleVendor Role = "vendor" // signs packs
	RoleLocal  Role = "local"  // signs packs that only add
)

// Manifest is manifest.json.
type Manifest struct {
	Format     int       `json:"format"`
	Name       string    `json:"name"`
	Version    uint64    `json:"version"`
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	RollbackOf uint64    `json:"rollback_of,omitempty"` // the content is that of this older version
	Shrinks    bool      `json:"shrinks,omitempty"`     // its signer says that holding much less than the one before is right
	Note       string    `json:"note,omitempty"`
	Files      []File    `json:"files"`
}

// File is one file of a pack.
type File struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // lower-case hexadecimal
}

// Pack is an open pack. It is immutable.
type Pack struct {
	Manifest Manifest
	Digest   string // SHA-256 of manifest.json: what names this very pack
	Role     Role   // of the key that signed it; "" when opened unverified
	KeyID    string
	Serial   uint64    // of the statement for that key
	KeyUntil time.Time // until when the statement holds, zero without end

	manifest   []byte // manifest.json, byte for byte as signed
	files      map[string][]byte
	root       ed25519.PublicKey // handed on to by the chain, nil when it was not
	rootSerial uint64
}

// Ref is the pack as findings and heartbeats name it.
func (p *Pack) Ref() rules.Pack {
	return rules.Pack{Name: p.Manifest.Name, Version: fmt.Sprint(p.Manifest.Version), Date: p.Manifest.Created}
}

// Content is the SHA-256 of what the pack holds, whatever it says of its version
// and dates: two packs of one content say the same.
func (p *Pack) Content() string {
	sum := sha256.New()
	for _, f := range p.Manifest.Files {
		fmt.Fprintf(sum, "%s %s\n", f.SHA256, f.Path)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Stale says why the pack should have been replaced by now, or nothing.
func (p *Pack) Stale(now time.Time) (reason string, stale bool) { return p.Term().Stale(now) }

// Open reads and verifies a pack file.
func Open(path string, trust Trust) (*Pack, error) {
	p, err := readFile(path, trust.verify)
	if err != nil {
		return nil, fmt.Errorf("open pack %s: %w", path, err)
	}
	return p, nil
}

// OpenUnverified reads a pack without asking who signed it, for people who look
// into one. Its files fit its manifest; nothing else is known. Never put it in
// force.
func OpenUnverified(path string) (*Pack, error) {
	p, err := readFile(path, anyone)
	if err != nil {
		return nil, fmt.Errorf("open pack %s: %w", path, err)
	}
	return p, nil
}

// anyone accepts whoever signed, or nobody.
func anyone(*Pack, *signature) error { return nil }

// readFile reads a pack; accept judges the manifest and its signature before a
// file is unpacked.
func readFile(path string, accept func(*Pack, *signature) error) (*Pack, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, _, err := read(f, accept)
	return p, err
}
