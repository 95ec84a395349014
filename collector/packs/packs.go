package packs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"sallyport/rules"
	"sallyport/rules/pack"
)

const (
	suffix   = ".pack"
	seenFile = "seen.json" // of a group: what its packs must not fall behind
	lockFile = ".lock"
)

// Packs is the folder of packs. The collector and the operator's commands use it
// at the same time: files are replaced whole, and changes hold a lock.
type Packs struct {
	// Directory gives every agent's labels by its name, for groups by label. Set it
	// before packs are asked for.
	Directory func(context.Context) (map[string]map[string]string, error)

	cfg    Config
	folder string
	logger hclog.Logger

	mu    sync.Mutex
	known map[string]known // by path
}

// known is a file that was looked at.
type known struct {
	size int64
	time time.Time
	held Held
	err  error // why it is not offered
}

// Held is a pack that lies in the folder.
type Held struct {
	Group string `json:"group"`
	rules.PackOffer
	Role    string    `json:"role"`
	KeyID   string    `json:"key"`
	Created time.Time `json:"created"`
	Stale   string    `json:"stale,omitempty"`
	Refused string    `json:"refused,omitempty"` // why it is not offered

	path string
}

// New makes the folder's keeper; nothing is opened yet.
func New(cfg Config, state string, logger hclog.Logger) *Packs {
	folder := cfg.Folder
	if folder == "" {
		folder = filepath.Join(state, "packs")
	}
	return &Packs{cfg: cfg, folder: folder, logger: logger.Named("packs"), known: map[string]known{}}
}

// ErrNoRoot means that packs cannot be verified, and so are not offered.
var ErrNoRoot = errors.New("packs.root is empty: name the file of the root's public key first")

func (p *Packs) root() (pack.Trust, error) {
	if p.cfg.Root == "" {
		return pack.Trust{}, ErrNoRoot
	}
	key, err := pack.ReadPublicKey(p.cfg.Root)
	if err != nil {
		return pack.Trust{}, fmt.Errorf("packs.root: %w", err)
	}
	return pack.Trust{Root: key}, nil
}

// List gives every pack of every group in order, what cannot be offered
// included.
func (p *Packs) List() ([]Held, error) {
	trust, err := p.root()
	if errors.Is(err, ErrNoRoot) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(p.folder, "*", "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := map[string]known{}
	var out []Held
	for _, file := range files {
		k, err := p.look(file, trust)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		kept[file] = k
		k.held.Stale, _ = pack.Term{Pack: rules.Pack{Name: k.held.Name, Version: fmt.Sprint(k.held.Version)}, Expires: k.held.Expires}.Stale(time.Now())
		out = append(out, k.held)
	}
	p.known = kept
	return out, nil
}

// look verifies a file, once for each of its contents.
func (p *Packs) look(file string, trust pack.Trust) (known, error) {
	st, err := os.Stat(file)
	if err != nil {
		return known{}, fmt.Errorf("read pack: %w", err)
	}
	if k, ok := p.known[file]; ok && k.size == st.Size() && k.time.Equal(st.ModTime()) {
		return k, nil
	}
	k := known{size: st.Size(), time: st.ModTime()}
	k.held, k.err = describe(file, trust)
	if k.err != nil {
		k.held.Refused = k.err.Error()
		p.logger.Error("pack not offered", "path", file, "error", k.err)
	}
	return k, nil
}

// describe verifies a file in a group's folder.
func describe(file string, trust pack.Trust) (Held, error) {
	name := strings.TrimSuffix(filepath.Base(file), suffix)
	h := Held{Group: filepath.Base(filepath.Dir(file)), PackOffer: rules.PackOffer{Name: name}, path: file}
	in, err := os.Open(file)
	if err != nil {
		return h, fmt.Errorf("read pack: %w", err)
	}
	defer in.Close()
	sum := sha256.New()
	if h.Bytes, err = io.Copy(sum, in); err != nil {
		return h, fmt.Errorf("read pack: %w", err)
	}
	h.SHA256 = hex.EncodeToString(sum.Sum(nil))
	opened, err := pack.Open(file, trust)
	if err != nil {
		return h, err
	}
	if opened.Manifest.Name != name {
		return h, fmt.Errorf("the pack's name is %q, not that of its file", opened.Manifest.Name)
	}
	m := opened.Manifest
	h.Version, h.Expires, h.Created, h.Role, h.KeyID = m.Version, m.Expires, m.Created, string(opened.Role), opened.KeyID
	return h, nil
}

// For lists the packs that an agent is offered: those of its groups. A group's
// pack goes before one of the same name in "all".
func (p *Packs) For(ctx context.Context, agent string) ([]Held, error) {
	all, err := p.List()
	if err != nil {
		return nil, err
	}
	labels, err := p.directory(ctx)
	if err != nil {
		return nil, fmt.Errorf("find groups of %s: %w", agent, err)
	}
	var out []Held
	for _, group := range p.cfg.groupsOf(agent, labels[agent]) {
		for _, h := range all {
			if h.Group == group && h.Refused == "" && !slices.ContainsFunc(out, func(o Held) bool { return o.Name == h.Name }) {
				out = append(out, h)
			}
		}
	}
	slices.SortFunc(out, func(a, b Held) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
