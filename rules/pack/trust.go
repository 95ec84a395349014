package pack

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// What is signed begins with its kind, so that a signature over one kind of
// document can never be taken for one over another.
const (
	manifestContext  = "sallyport pack manifest 1\x00"
	statementContext = "sallyport pack statement 1\x00"
	maxChain         = 16
)

// Statement is what the root says of a key. A statement with the role root hands
// the root's powers on to a new key: the old one signs it.
type Statement struct {
	Role   Role      `json:"role"`
	Key    []byte    `json:"key"`    // ed25519 public key, base64 in JSON
	Serial uint64    `json:"serial"` // rises with every statement for the role; an older one no longer counts
	From   time.Time `json:"from"`
	Until  time.Time `json:"until,omitzero"` // zero: without end
	Names  []string  `json:"names"`          // packs the key may sign
}

// Signed is a statement as it travels: its bytes, and the root's signature.
type Signed struct {
	Statement []byte `json:"statement"` // JSON of a Statement, byte for byte as signed
	Sig       []byte `json:"sig"`
}

// signature is signature.json.
type signature struct {
	Chain []Signed `json:"chain"` // root statements first, oldest first; the signing key's last
	Sig   []byte   `json:"sig"`

	manifest []byte // what is signed
}

// KeyID names a public key for people: the first 16 digits of its SHA-256.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// Delegate signs a statement with the root key.
func Delegate(root ed25519.PrivateKey, s Statement) (Signed, error) {
	if err := s.validate(); err != nil {
		return Signed{}, fmt.Errorf("delegate: %w", err)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return Signed{}, fmt.Errorf("delegate: %w", err)
	}
	return Signed{Statement: raw, Sig: ed25519.Sign(root, append([]byte(statementContext), raw...))}, nil
}

func (s *Statement) validate() error {
	switch {
	case len(s.Key) != ed25519.PublicKeySize:
		return errors.New("the key is no ed25519 public key")
	case s.Role != RoleRoot && s.Role != RoleVendor && s.Role != RoleLocal:
		return fmt.Errorf("role %q is none of root, vendor, local", cut(string(s.Role)))
	case s.Serial == 0:
		return errors.New("serials begin at 1")
	case s.Role != RoleRoot && len(s.Names) == 0:
		return errors.New("the statement names no pack the key may sign")
	case !s.Until.IsZero() && !s.Until.After(s.From):
		return errors.New("the statement ends before it begins")
	}
	return nil
}

func (s *Signed) check(by ed25519.PublicKey) (Statement, error) {
	var out Statement
	if !ed25519.Verify(by, append([]byte(statementContext), s.Statement...), s.Sig) {
		return out, fmt.Errorf("%w: a statement is not signed by the root %s", ErrUntrusted, KeyID(by))
	}
	if err := strictJSON(s.Statement, &out); err != nil {
		return out, fmt.Errorf("%w: statement: %w", ErrCorrupt, err)
	}
	if err := out.validate(); err != nil {
		return out, fmt.Errorf("%w: statement: %w", ErrCorrupt, err)
	}
	return out, nil
}

// Trust is what a reader knows before it opens a pack. Root is pinned; Seen is
// kept on disk and grows with every pack put in force.
type Trust struct {
	Root ed25519.PublicKey
	Seen Seen
}

// Seen is what was in force so far: what a pack must not fall behind.
type Seen struct {
	Root    []byte            `json:"root,omitempty"` // key the root was handed on to
	Serials map[Role]uint64   `json:"serials,omitempty"`
	Packs   map[string]Latest `json:"packs,omitempty"`
}

// Latest is the newest version of a pack.
type Latest struct {
	Version uint64 `json:"version"`
	Digest  string `json:"digest"`
}

// Accept returns what is known once this verified pack is in force.
func (s Seen) Accept(p *Pack) Seen {
	out := Seen{Root: s.Root, Serials: map[Role]uint64{}, Packs: map[string]Latest{}}
	for k, v := range s.Serials {
		out.Serials[k] = v
	}
	for k, v := range s.Packs {
		out.Packs[k] = v
	}
	out.Serials[p.Role] = max(out.Serials[p.Role], p.Serial)
	out.Packs[p.Manifest.Name] = Latest{p.Manifest.Version, p.Digest}
	if p.root != nil {
		out.Root = p.root
		out.Serials[RoleRoot] = max(out.Serials[RoleRoot], p.rootSerial)
	}
	return out
}

// verify checks the chain from the pinned root, the signature, and that the pack
// falls behind nothing.
func (t Trust) verify(p *Pack, sig *signature) error {
	if len(sig.Sig) == 0 || len(sig.Chain) == 0 {
		return ErrUnsigned
	}
	if len(sig.Chain) > maxChain {
		return fmt.Errorf("%w: a chain of %d statements", ErrTooBig, len(sig.Chain))
	}
	key, err := t.chain(p, sig.Chain)
	if err != nil {
		return err
	}
	if !ed25519.Verify(key.Key, append([]byte(manifestContext), sig.manifest...), sig.Sig) {
		return fmt.Errorf("%w: the manifest's signature is not by key %s", ErrUntrusted, KeyID(key.Key))
	}
	if err := key.covers(&p.Manifest); err != nil {
		return err
	}
	p.Role, p.KeyID, p.Serial, p.KeyUntil = key.Role, KeyID(key.Key), key.Serial, key.Until
	return t.notOlder(p)
}

// chain walks from the pinned root to the key that signed the pack.
func (t Trust) chain(p *Pack, chain []Signed) (Statement, error) {
	root := t.Root
	if len(root) != ed25519.PublicKeySize {
		return Statement{}, fmt.Errorf("%w: no root key is pinned", ErrUntrusted)
	}
	handedOn := len(t.Seen.Root) == 0 // whether the chain reached the newest root known
	for i := range chain {
		s, err := chain[i].check(root)
		if err != nil {
			return s, err
		}
		last := i == len(chain)-1
		if (s.Role == RoleRoot) == last {
			return s, fmt.Errorf("%w: the chain must end, and only end, with a key that signs packs", ErrUntrusted)
		}
		if last {
			if !handedOn {
				return s, fmt.Errorf("%w: the root was replaced by %s since", ErrUntrusted, KeyID(t.Seen.Root))
			}
			if s.Serial < t.Seen.Serials[s.Role] {
				return s, fmt.Errorf("%w: the %s key %s was replaced (serial %d, now %d)", ErrUntrusted, s.Role, KeyID(s.Key), s.Serial, t.Seen.Serials[s.Role])
			}
			return s, nil
		}
		root = s.Key
		handedOn = handedOn || string(root) == string(t.Seen.Root)
		p.root, p.rootSerial = root, s.Serial
	}
	return Statement{}, ErrUnsigned
}

// covers asks whether the key may sign this pack, at the time it was made.
func (s *Statement) covers(m *Manifest) error {
	named := false
	for _, n := range s.Names {
		named = named || n == m.Name
	}
	switch {
	case !named:
		return fmt.Errorf("%w: key %s may not sign the pack %q", ErrUntrusted, KeyID(s.Key), m.Name)
	case m.Created.Before(s.From) || (!s.Until.IsZero() && m.Created.After(s.Until)):
		return fmt.Errorf("%w: key %s was not valid when the pack was made", ErrUntrusted, KeyID(s.Key))
	}
	return nil
}

func (t Trust) notOlder(p *Pack) error {
	latest, ok := t.Seen.Packs[p.Manifest.Name]
	switch {
	case !ok || p.Manifest.Version > latest.Version:
		return nil
	case p.Manifest.Version < latest.Version || p.Digest != latest.Digest:
		return &OlderError{p.Manifest.Name, p.Manifest.Version, latest.Version}
	}
	return nil
}
