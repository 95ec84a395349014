package deliver

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"sallyport/rules"
)

// maxParked bounds the file of refused findings, in bytes.
const maxParked = 64 << 20

// parkingLot keeps findings that a destination refuses for good, for a person to
// look at: one JSON object a line.
type parkingLot struct{ dir, name string }

// parked is a line of the file.
type parked struct {
	At       time.Time      `json:"at"`
	Reason   string         `json:"reason"`
	Envelope rules.Envelope `json:"envelope"`
}

func (p parkingLot) path() string { return filepath.Join(p.dir, "parked-"+p.name+".jsonl") }

// add appends the rejected envelopes and fsyncs. It says how many it kept: a
// full file takes no more.
func (p parkingLot) add(batch []rules.Envelope, rejects []rules.Reject) (int, error) {
	bySeq := make(map[uint64]rules.Envelope, len(batch))
	for _, e := range batch {
		bySeq[e.Seq] = e
	}
	file, err := os.OpenFile(p.path(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	size, kept := info.Size(), 0
	for _, r := range rejects {
		e, ok := bySeq[r.Seq]
		if !ok {
			continue
		}
		line, err := json.Marshal(parked{time.Now().UTC(), r.Reason, e})
		if err != nil {
			return kept, err
		}
		if size += int64(len(line)) + 1; size > maxParked {
			break
		}
		if _, err := file.Write(append(line, '\n')); err != nil {
			return kept, err
		}
		kept++
	}
	return kept, file.Sync()
}
