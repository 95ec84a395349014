package reports

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sallyport/collector/record"
	"sallyport/collector/store"
)

// order is what an id holds.
type order struct {
	Entity string `json:"e"`
	From   int64  `json:"f"` // seconds since 1970
	To     int64  `json:"t"`
	Asked  int64  `json:"a"`
}

func encodeID(q record.Query, asked time.Time) string {
	text, err := json.Marshal(order{q.Entity, q.From.Unix(), q.To.Unix(), asked.Unix()})
	if err != nil {
		panic(err) // text and numbers alone
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// Bounds of an id and of the entity's in it, in bytes.
const (
	maxID     = 1000
	maxEntity = 200
)

func decodeID(id string) (record.Query, time.Time, error) {
	if len(id) > maxID {
		return record.Query{}, time.Time{}, errors.New("id is too long")
	}
	text, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return record.Query{}, time.Time{}, err
	}
	var o order
	if err := json.Unmarshal(text, &o); err != nil {
		return record.Query{}, time.Time{}, err
	}
	return record.Query{Entity: o.Entity, From: time.Unix(o.From, 0).UTC(), To: time.Unix(o.To, 0).UTC()}, time.Unix(o.Asked, 0).UTC(), nil
}

// path is where a report lies; its id is somebody's text, its digest is not.
func (d *Desk) path(id, format string) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(d.folder(), hex.EncodeToString(sum[:16])+"."+format)
}

func (d *Desk) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-d.queue:
			d.change(id, func(r *Report) { r.State = Working })
			err := d.make(ctx, id)
			if err != nil && ctx.Err() == nil {
				d.logger.Error("report not made", "error", err)
			}
			d.change(id, func(r *Report) {
				r.State, r.Finished = Done, time.Now().UTC()
				if err != nil {
					r.State, r.Error = Failed, "the collector could not make it; its log says why"
				}
			})
		}
	}
}

func (d *Desk) change(id string, f func(*Report)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d.made[id])
}

// make signs the record, so that proofs cover all of it, and writes the report in
// both forms.
func (d *Desk) make(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	q, _, err := decodeID(id)
	if err != nil {
		return err
	}
	signed, err := Sign(ctx, d.store, d.state)
	if err != nil {
		return err
	}
	report, err := record.Build(ctx, d.store, q, d.version, time.Now())
	if err != nil {
		return err
	}
	if err := d.write(id, "json", func(f *os.File) error { return json.NewEncoder(f).Encode(report) }); err != nil {
		return err
	}
	if err := d.write(id, "html", func(f *os.File) error { return report.WriteHTML(f) }); err != nil {
		return err
	}
	d.change(id, func(r *Report) {
		r.Contacts, r.Tests, r.Unsigned = report.Totals.Contacts, report.Excluded.Test, !signed
	})
	return nil
}

func (d *Desk) write(id, format string, fill func(*os.File) error) (err error) {
	f, err := os.OpenFile(d.path(id, format), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := fill(f); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Sign signs what the record has grown by since its last checkpoint. It says no
// where there is no key here, as on a restored store elsewhere.
func Sign(ctx context.Context, s *store.Store, state string) (signed bool, err error) {
	key, err := record.ReadKey(state)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	size, err := s.RecordSize(ctx)
	if err != nil || size == 0 {
		return true, err
	}
	last, err := s.LastCheckpoint(ctx)
	if err == nil && last.Size == size {
		return true, nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	_, err = record.Sign(ctx, s, key, state, time.Now())
	return err == nil, err
}
