package feeds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sallyport/collector/packs"
	"sallyport/rules"
	"sallyport/rules/feed"
	"sallyport/rules/pack"
)

// try imports a source and, when what came is sound, puts it in force. An error
// leaves everything as it was but the report.
func (r *Runner) try(ctx context.Context, s Source, o *Outcome, force bool) error {
	before, err := r.dir.set(s.Name)
	if err != nil {
		return err
	}
	req, err := request(s, *o, before)
	if err != nil {
		return err
	}
	result, err := feed.Import(ctx, req)
	if err != nil {
		return err
	}
	if result.Unchanged {
		if time.Since(o.Built) < r.cfg.Life/2 {
			return nil
		}
		return r.enforce(ctx, s, o, before, o.Shrunk)
	}
	o.Report = result.Report
	size := feed.Count(result.Entities)
	if err := feed.CheckSize(o.Size, size, force); err != nil {
		return err
	}
	after := withdraw(result.Entities, result.Withdrawn)
	if s.Kind == "ofac" {
		after = append(after, feed.Lifted(before, after, rules.Date(o.Tried.Format(time.DateOnly)))...)
	}
	if err := r.enforce(ctx, s, o, after, force); err != nil {
		return err
	}
	if err := r.dir.keepSet(s.Name, after, o.Tried); err != nil {
		return err
	}
	o.State, o.Asked, o.Size, o.Changed = result.State, s.asks(), size, o.Tried
	o.Entities, o.Indicators = len(after), feed.Count(after)-len(after)
	return nil
}

// request asks for what is new since the last time, where the last set is there
// to add it to.
func request(s Source, o Outcome, before []rules.Entity) (feed.Request, error) {
	req := feed.Request{
		Kind: s.Kind, From: s.URL, Confidence: s.Confidence, Type: s.Type, Programmes: s.Programmes, Client: s.Client,
		Source: rules.Source{ID: s.Name, Name: s.Name},
	}
	var err error
	if req.Entity, err = feed.EntityFor(s.Entity); err != nil {
		return req, err
	}
	if before == nil || o.Asked != s.asks() {
		return req, nil
	}
	req.State = o.State
	if o.State.AddedAfter != "" || o.State.Since != 0 {
		// Such a feed sends what came since. One whose entity has another id in this
		// version starts anew.
		if len(before) != 1 || (req.Entity.ID != "" && before[0].ID != req.Entity.ID) {
			req.State = feed.State{}
			return req, nil
		}
		req.Entity = before[0]
		req.Entity.Sources = slices.DeleteFunc(slices.Clone(before[0].Sources), func(src rules.Source) bool { return src.ID == s.Name })
	}
	return req, nil
}

// asks names what is fetched and for whom, without showing what a URL may hold.
func (s Source) asks() string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{s.Kind, s.URL, s.Entity, string(s.Confidence), string(s.Type)}, s.Programmes...), "\x00")))
	return hex.EncodeToString(sum[:8])
}

// withdraw takes revoked values out.
func withdraw(entities []rules.Entity, gone []feed.Withdrawal) []rules.Entity {
	if len(gone) == 0 {
		return entities
	}
	revoked := make(map[feed.Withdrawal]bool, len(gone))
	for _, w := range gone {
		revoked[w] = true
	}
	out := slices.Clone(entities)
	for i := range out {
		out[i].Indicators = slices.DeleteFunc(slices.Clone(out[i].Indicators), func(in rules.Indicator) bool {
			return revoked[feed.Withdrawal{Type: in.Type, Value: in.Value}]
		})
	}
	return out
}

// enforce builds the source's pack with the set given and those of the sources
// that share it, and offers it. shrunk says for its agents that an operator took
// a much smaller set.
func (r *Runner) enforce(ctx context.Context, s Source, o *Outcome, set []rules.Entity, shrunk bool) error {
	r.building.Lock()
	defer r.building.Unlock()
	all := set
	for _, other := range r.sources {
		if other.Name == s.Name || other.Pack != s.Pack || other.Group != s.Group {
			continue
		}
		more, err := r.dir.set(other.Name)
		if err != nil {
			return fmt.Errorf("feed %s of the same pack: %w", other.Name, err)
		}
		all = append(slices.Clone(all), more...)
	}
	signer, err := r.signer()
	if err != nil {
		return err
	}
	version, err := r.nextVersion(s)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	c := pack.Contents{
		Name: s.Pack, Version: version, Created: now, Expires: now.Add(r.cfg.Life), Entities: joined(all), Shrinks: shrunk,
		Note: "built of feeds; the newest is " + s.Name,
	}
	if shrunk {
		c.Note += "; an operator of the collector forced it, though it holds much less than before"
		r.logger.Warn("a much smaller set was forced on a feed's pack", "feed", s.Name, "pack", s.Pack, "version", version)
	}
	var held packs.Held
	if held, err = r.offerPack(ctx, s.Group, func(w io.Writer) error { return pack.Build(w, c, signer) }); err != nil {
		return err
	}
	o.Pack, o.Group, o.Version, o.Built, o.Shrunk = held.Name, held.Group, held.Version, now, shrunk
	return nil
}

func (r *Runner) signer() (*pack.Signer, error) {
	key, err := pack.ReadPrivateKey(r.cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("feeds.key: %w", err)
	}
	chain, err := pack.ReadChain(r.cfg.Chain)
	if err != nil {
		return nil, fmt.Errorf("feeds.chain: %w", err)
	}
	return &pack.Signer{Key: key, Chain: chain}, nil
}

// nextVersion is above every version before. It is the time in seconds, so that
// it stays so when a collector is set up anew.
func (r *Runner) nextVersion(s Source) (uint64, error) {
	held, err := r.offer.List()
	if err != nil {
		return 0, err
	}
	version := uint64(time.Now().Unix())
	for _, h := range held {
		if h.Group == s.Group && h.Name == s.Pack {
			version = max(version, h.Version+1)
		}
	}
	return version, nil
}
