package record

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"sallyport/collector/store"
	"sallyport/collector/stream"
	"sallyport/rules"
)

// origin is the first line of every checkpoint (C2SP tlog-checkpoint).
const origin = "sallyport/record"

// RuleCheckpoint is the rule of the finding in which a checkpoint leaves through
// the exporters. Its reasons hold the signed note, line by line.
const RuleCheckpoint = rules.RuleCheckpoint

// Sign makes a checkpoint of the record as it is, keeps it in the store and
// appends it to the file.
func Sign(ctx context.Context, s *store.Store, key Key, state string, now time.Time) (store.Checkpoint, error) {
	size, err := s.RecordSize(ctx)
	if err != nil {
		return store.Checkpoint{}, err
	}
	root, err := tlog.TreeHash(size, hashesOf(ctx, s))
	if err != nil {
		return store.Checkpoint{}, fmt.Errorf("hash record: %w", err)
	}
	now = now.UTC().Truncate(time.Microsecond)
	text := checkpointText(size, root, now)
	signed, err := note.Sign(&note.Note{Text: text}, key.signer)
	if err != nil {
		return store.Checkpoint{}, fmt.Errorf("sign checkpoint: %w", err)
	}
	c := store.Checkpoint{Size: size, Signer: key.Verifier, At: now, Note: string(signed)}
	// The file first: it must never have less than the store, or a store that was
	// put back could not be told.
	if err := appendCheckpoint(state, c); err != nil {
		return store.Checkpoint{}, err
	}
	return c, s.AddCheckpoint(ctx, c)
}

func checkpointText(size int64, root tlog.Hash, at time.Time) string {
	return fmt.Sprintf("%s\n%d\n%s\ntime %s\n", origin, size, base64.StdEncoding.EncodeToString(root[:]), at.Format(time.RFC3339Nano))
}

// Point is what a checkpoint says.
type Point struct {
	Size int64
	Root tlog.Hash
	At   time.Time
	Key  string // name of the key that signed it
}

// OpenCheckpoint checks a checkpoint's signature by one of the keys.
func OpenCheckpoint(text string, verifiers note.Verifiers) (Point, error) {
	n, err := note.Open([]byte(text), verifiers)
	if err != nil {
		return Point{}, fmt.Errorf("open checkpoint: %w", err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 || lines[0] != origin {
		return Point{}, errors.New("open checkpoint: it is not of a record of Sallyport")
	}
	p := Point{Key: n.Sigs[0].Name}
	if p.Size, err = strconv.ParseInt(lines[1], 10, 64); err != nil || p.Size < 0 || strconv.FormatInt(p.Size, 10) != lines[1] {
		return Point{}, errors.New("open checkpoint: no size")
	}
	if p.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return Point{}, fmt.Errorf("open checkpoint: %w", err)
	}
	if at, ok := strings.CutPrefix(lines[3], "time "); ok {
		if p.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
			return Point{}, fmt.Errorf("open checkpoint: %w", err)
		}
	}
	return p, nil
}

func appendCheckpoint(state string, c store.Checkpoint) (err error) {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode checkpoint: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(Folder(state), checkpointFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return f.Sync()
}

// maxCheckpoint bounds one line of a file of checkpoints, in bytes.
const maxCheckpoint = 64 << 10

// ReadCheckpoints reads lines of checkpoints as the collector's file holds them,
// or findings as the JSON exporters write them, of which it takes the
// checkpoints; or one signed note alone.
func ReadCheckpoints(in io.Reader) ([]string, error) {
	r := bufio.NewReader(in)
	if first, err := r.Peek(len(origin)); err == nil && string(first) == origin {
		text, err := io.ReadAll(io.LimitReader(r, maxCheckpoint))
		return []string{string(text)}, err
	}
	var notes []string
	for {
		line, err := r.ReadBytes('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 {
			n, err := checkpointLine(text)
			if err != nil {
				return notes, err
			}
			if n != "" {
				notes = append(notes, n)
			}
		}
		if errors.Is(err, io.EOF) {
			return notes, nil
		}
		if err != nil {
			return notes, fmt.Errorf("read checkpoints: %w", err)
		}
	}
}

func checkpointLine(line []byte) (string, error) {
	var x struct {
		Note string        `json:"note"`
		Rule rules.RuleRef `json:"rule"`
		Why  []string      `json:"why"`
	}
	if err := json.Unmarshal(line, &x); err != nil {
		return "", fmt.Errorf("read checkpoints: a line is neither a checkpoint nor a finding: %w", err)
	}
	if x.Rule.ID == RuleCheckpoint {
		return strings.Join(x.Why, "\n") + "\n", nil
	}
	return x.Note, nil
}

// checkpointEntry is the finding in which a checkpoint leaves. All checkpoints of
// a key are revisions of one finding, numbered by the record's size.
func checkpointEntry(c store.Checkpoint, version string) (stream.Entry, error) {
	sum := sha256.Sum256([]byte(RuleCheckpoint + "\x00" + c.Signer))
	title := "checkpoint of the record: " + strconv.FormatInt(c.Size, 10) + " entries"
	f := rules.Finding{
		Version: rules.FindingVersion, ID: hex.EncodeToString(sum[:16]), Revision: uint64(c.Size), State: rules.StateUpdated,
		Agent: rules.AgentInfo{Name: stream.Collector, Version: version},
		Rule:  rules.RuleRef{ID: RuleCheckpoint, Title: "checkpoint of the record"},
		Title: title, Severity: rules.SeverityInfo, Confidence: "high", Why: strings.Split(strings.TrimSuffix(c.Note, "\n"), "\n"),
		Observation: rules.Observation{
			Host: stream.Collector, Sensor: rules.SensorAgent, Direction: rules.DirectionUnknown, First: c.At, Last: c.At, Closed: true,
			Owner: rules.Owner{Attribution: rules.AttributionUnknown}, Identification: rules.Identification{Protocol: "none"},
		},
		First: c.At, Last: c.At, Count: 1, Created: c.At,
	}
	text, err := json.Marshal(f)
	if err != nil {
		return stream.Entry{}, fmt.Errorf("encode checkpoint: %w", err)
	}
	return stream.Entry{Agent: stream.Collector, ID: f.MessageID(), Received: c.At, Finding: text}, nil
}
