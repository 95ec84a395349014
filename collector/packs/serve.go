package packs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"time"

	"sallyport/collector/identity"
	"sallyport/rules"
)

// archiveLimit is how long an agent on a slow line may take for a pack.
const archiveLimit = 30 * time.Minute

// Authenticate says which agent sent a request.
type Authenticate func(*http.Request) (string, error)

// Offers answers GET rules.PathPacks.
func (p *Packs) Offers(who Authenticate) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		list, ok := p.offered(w, r, who)
		if !ok {
			return
		}
		answer := rules.PackList{Packs: []rules.PackOffer{}}
		for _, h := range list {
			answer.Packs = append(answer.Packs, h.PackOffer)
		}
		body, err := json.Marshal(answer)
		if err != nil {
			p.fail(w, err)
			return
		}
		sum := sha256.Sum256(body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

// Root answers GET rules.PathPackRoot, which an agent asks for once, when it has
// enrolled.
func (p *Packs) Root(who Authenticate) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := who(r); err != nil {
			p.fail(w, err)
			return
		}
		if p.cfg.Root == "" {
			identity.Refusal{Status: http.StatusNotFound, Code: rules.CodeNoPack, Detail: "this collector offers no packs"}.Write(w)
			return
		}
		if _, err := p.root(); err != nil {
			p.fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-pem-file")
		http.ServeFile(w, r, p.cfg.Root)
	}
}

// Archive answers GET rules.PathPacks/{name}, in parts too.
func (p *Packs) Archive(who Authenticate) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		list, ok := p.offered(w, r, who)
		if !ok {
			return
		}
		for _, h := range list {
			if h.Name == r.PathValue("name") {
				p.send(w, r, h)
				return
			}
		}
		identity.Refusal{Status: http.StatusNotFound, Code: rules.CodeNoPack, Detail: "no pack of this name is offered to this agent"}.Write(w)
	}
}

func (p *Packs) send(w http.ResponseWriter, r *http.Request, h Held) {
	f, err := os.Open(h.path)
	if err != nil {
		p.fail(w, err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && st.Size() != h.Bytes {
		err = errors.New("the pack was replaced meanwhile; ask again")
	}
	if err == nil {
		err = extend(w)
	}
	if err != nil {
		p.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/zstd")
	w.Header().Set("ETag", `"`+h.SHA256+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
}

// extend gives the answer more time than others have. Not every writer can.
func extend(w http.ResponseWriter) error {
	err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(archiveLimit))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// offered says what the sender is offered, or answers and says no.
func (p *Packs) offered(w http.ResponseWriter, r *http.Request, who Authenticate) ([]Held, bool) {
	agent, err := who(r)
	if err == nil {
		var list []Held
		if list, err = p.For(r.Context(), agent); err == nil {
			return list, true
		}
	}
	p.fail(w, err)
	return nil, false
}

func (p *Packs) fail(w http.ResponseWriter, err error) {
	var refusal identity.Refusal
	if !errors.As(err, &refusal) {
		p.logger.Error("packs not offered", "error", err)
		refusal = identity.Refusal{Status: http.StatusServiceUnavailable, Code: rules.CodeNotAvailable, Detail: "packs cannot be read now", RetryAfter: time.Minute}
	}
	refusal.Write(w)
}
