package record

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// Kinds of entries.
const (
	KindFinding  = "finding"  // one revision, as it came, without its packets
	KindRejected = "rejected" // a line that was refused for good, without its finding
	KindCoverage = stream.KindCoverage
	KindDecision = stream.KindDecision
)

// saltSize of every entry, in bytes: who knows what a host may have done cannot
// find it out by trying digests.
const saltSize = 32

// Document is what an entry's digest is of.
type Document struct {
	Kind     string    `json:"kind"`
	Agent    string    `json:"agent"` // whose certificate sent it, or "@collector"
	ID       string    `json:"id"`
	Revision uint64    `json:"revision,omitempty"`
	Epoch    string    `json:"epoch,omitempty"`
	Seq      uint64    `json:"seq,omitempty"`
	Received time.Time `json:"received"`
	Packets  string    `json:"packets_sha256,omitempty"` // of the pcapng that came with it, computed here
	Reason   string    `json:"reason,omitempty"`         // of a rejection
	// Body is the finding, the stretch of coverage or the decision.
	Body json.RawMessage `json:"body,omitempty"`
}

// documentOf makes what the record keeps of an entry of the stream.
func documentOf(e *stream.Entry) (Document, error) {
	d := Document{Kind: e.Kind, Agent: e.Agent, ID: e.ID, Epoch: e.Epoch, Seq: e.Seq, Received: e.Received.UTC(), Body: e.Document}
	switch {
	case e.Rejected != "":
		d.Kind, d.Reason, d.ID = KindRejected, e.Rejected, e.Epoch+"/"+strconv.FormatUint(e.Seq, 10)
		return d, nil
	case e.Kind != "":
		d.Revision = e.Seq // the number of a decision
		return d, nil
	}
	var f struct {
		ID       string          `json:"id"`
		Revision uint64          `json:"revision"`
		Evidence *rules.Evidence `json:"evidence"`
	}
	if err := json.Unmarshal(e.Finding, &f); err != nil {
		return d, fmt.Errorf("read finding %s of %s: %w", e.ID, e.Agent, err)
	}
	body, err := rules.WithoutPackets(e.Finding)
	if err != nil {
		return d, err
	}
	d.Kind, d.ID, d.Revision, d.Body = KindFinding, f.ID, f.Revision, body
	if f.Evidence != nil && len(f.Evidence.PCAPNG) > 0 {
		sum := sha256.Sum256(f.Evidence.PCAPNG)
		d.Packets = hex.EncodeToString(sum[:])
	}
	return d, nil
}

// entryOf salts and digests a document.
func entryOf(d Document) (store.RecordEntry, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return store.RecordEntry{}, fmt.Errorf("encode record: %w", err)
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails (crypto/rand)
	e := store.RecordEntry{
		Kind: d.Kind, Agent: d.Agent, ID: d.ID, Revision: d.Revision, Received: d.Received, Salt: hex.EncodeToString(salt), Document: string(text),
	}
	e.Digest = digest(e.Salt, e.Document)
	return e, nil
}

// digest of an entry: SHA-256 of the salt's hexadecimal form, a newline and the
// document.
func digest(salt, document string) string {
	sum := sha256.Sum256([]byte(salt + "\n" + document))
	return hex.EncodeToString(sum[:])
}

// Leaf is the data of an entry's leaf in the tree. It holds nothing of the
// document but its digest, so that the document can be removed with age.
func Leaf(e store.RecordEntry) []byte {
	return fmt.Appendf(nil, "sallyport record entry\n%s\n%d\n%s\n", e.Kind, e.Received.UnixMicro(), e.Digest)
}

func leafHash(e store.RecordEntry) tlog.Hash { return tlog.RecordHash(Leaf(e)) }

// same says whether two JSON texts are the same but for their spelling.
func same(a, b []byte) bool {
	x, err1 := json.Marshal(json.RawMessage(a))
	y, err2 := json.Marshal(json.RawMessage(b))
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
