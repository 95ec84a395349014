package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport/rules"
)

// job is one import under way: it collects entities and indicators.
type job struct {
	req      Request
	client   *client
	state    State
	partial  bool
	report   Report
	document string // name of the one being read, where a feed has several

	entity rules.Entity
	claims []rules.Claim    // of rows without dates: shared, so that a million rows cost one
	index  map[valueKey]int // of entity.Indicators
	list   []rules.Entity   // entities of their own (OFAC)

	withdrawn []Withdrawal
}

type valueKey struct {
	kind  rules.IndicatorType
	value string
}

func newJob(req Request) (*job, error) {
	if req.Limits == (Limits{}) {
		req.Limits = DefaultLimits()
	}
	if req.Now == nil {
		req.Now = time.Now
	}
	if req.Confidence == "" {
		req.Confidence = rules.ConfidenceLow
	}
	if req.Source.Name == "" {
		req.Source.Name = shown(req.From)
	}
	if req.Source.ID == "" {
		req.Source.ID = slug(req.Source.Name)
	}
	if req.Source.Date == "" {
		req.Source.Date = rules.Date(req.Now().UTC().Format(time.DateOnly))
		req.Source.Note = strings.TrimSpace(req.Source.Note + " Date of import: the feed states none.")
	}
	if req.Source.Reference == "" && isURL(req.From) {
		req.Source.Reference = shown(req.From)
	}
	j := &job{req: req, state: req.State, index: map[valueKey]int{}, report: Report{Kind: req.Kind, From: shown(req.From)}}
	j.claims = []rules.Claim{{Source: req.Source.ID}}
	j.entity = req.Entity
	if j.entity.ID == "" {
		j.entity.ID = slug("feed-" + req.Source.ID)
	}
	if j.entity.Name == "" {
		j.entity.Name = "an entity that " + req.Source.Name + " does not name"
	}
	if j.entity.Kind == "" {
		j.entity.Kind = rules.KindOrganisation
	}
	j.entity.Sources = slices.Clone(j.entity.Sources)
	if !slices.ContainsFunc(j.entity.Sources, func(s rules.Source) bool { return s.ID == req.Source.ID }) {
		j.entity.Sources = append(j.entity.Sources, req.Source)
	}
	j.entity.Actors = slices.Clone(j.entity.Actors)
	j.entity.Indicators = slices.Clone(j.entity.Indicators)
	for i, in := range j.entity.Indicators {
		j.index[valueKey{in.Type, in.Value}] = i
	}
	var err error
	if isURL(req.From) {
		j.client, err = newClient(req.Client, req.Limits.Bytes)
	}
	return j, err
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
}

// shown is a location without the password a URL may hold.
func shown(from string) string {
	if !isURL(from) {
		return filepath.Base(from)
	}
	u, err := url.Parse(from)
	if err != nil {
		return "a URL that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// slug makes an id: lower-case letters, digits and hyphens, at most 64.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if n := b.Len(); n > 0 && b.String()[n-1] != '-' {
			b.WriteByte('-')
		}
		if b.Len() == 64 {
			break
		}
	}
	if id := strings.Trim(b.String(), "-"); id != "" {
		return id
	}
	return "feed"
}

// open opens the feed itself; conditional, when the state knows the last one.
func (j *job) open(ctx context.Context) (io.ReadCloser, error) {
	if j.client != nil {
		return j.client.openConditional(ctx, j.req.From, &j.state)
	}
	return j.openFile(j.req.From)
}

// openBeside opens a document that stands beside the feed, such as alt.csv
// beside sdn.csv. It returns os.ErrNotExist when there is none.
func (j *job) openBeside(ctx context.Context, name string) (io.ReadCloser, error) {
	if strings.ContainsAny(name, `/\`) || name == ".." {
		return nil, fmt.Errorf("open %q: not a plain name", name)
	}
	if j.client == nil {
		return j.openFile(filepath.Join(filepath.Dir(j.req.From), name))
	}
	u, err := url.Parse(j.req.From)
	if err != nil {
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	u = u.ResolveReference(&url.URL{Path: name})
	return j.client.open(ctx, u.String())
}

func (j *job) openFile(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return &limited{ReadCloser: f, left: j.req.Limits.Bytes}, nil
}

// limited fails with ErrTooBig instead of ending early.
type limited struct {
	io.ReadCloser
	left int64
}

// Read reads up to the limit.
func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, ErrTooBig
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, ErrTooBig
	}
	return n, err
}

// errTooMany ends an import that has too many rows.
var errTooMany = errors.New("feed has more rows than allowed")

// add takes an indicator, or rejects it. raw is the row's own text.
func (j *job) add(line int, raw string, in rules.Indicator) error {
	normal, err := rules.Normal(in.Type, in.Value)
	if err == nil {
		in.Value = normal
		err = rules.CheckValue(in.Type, normal, j.entity.Test)
	}
	if err == nil && in.Type == rules.TypeASN && in.Holder == nil {
		err = errors.New("an autonomous system needs its holder, which this feed does not name; write it into an entity file")
	}
	if err != nil {
		j.reject(line, raw, reason(err))
		return nil
	}
	if in.Confidence == "" {
		in.Confidence = j.req.Confidence
	}
	if len(in.Sources) == 0 {
		in.Sources = j.claims
	}
	in.Note = printable(in.Note, 500)
	key := valueKey{in.Type, in.Value}
	if i, ok := j.index[key]; ok {
		j.merge(&j.entity.Indicators[i], in)
		return nil
	}
	if len(j.entity.Indicators) >= j.req.Limits.Rows {
		return errTooMany
	}
	j.index[key] = len(j.entity.Indicators)
	j.entity.Indicators = append(j.entity.Indicators, in)
	j.report.Accepted++
	return nil
}

// merge puts what a second row of a value says beside the first.
func (j *job) merge(to *rules.Indicator, in rules.Indicator) {
	news := false
	for _, p := range in.Ports {
		if !slices.Contains(to.Ports, p) && len(to.Ports) > 0 {
			to.Ports = append(slices.Clone(to.Ports), p)
			news = true
		}
	}
	if len(in.Ports) == 0 {
		to.Ports = nil // one row names no port: then every port is meant
	}
	for _, c := range in.Sources {
		if !slices.Contains(to.Sources, c) {
			to.Sources = append(slices.Clone(to.Sources), c)
			news = true
		}
	}
	if news {
		j.report.Accepted++
	} else {
		j.report.Duplicates++
	}
}

func (j *job) reject(line int, value, why string) { j.report.reject(j.document, line, value, why) }

// reason turns an error into what a report says.
func reason(err error) string {
	var v *rules.ValueError
	if errors.As(err, &v) {
		return v.Message
	}
	return err.Error()
}

// source declares a further source of the feed and returns its id.
func (j *job) source(s rules.Source) string {
	s.Name = printable(s.Name, 200)
	if s.ID == "" {
		s.ID = slug(j.req.Source.ID + "-" + s.Name)
	}
	if s.Date == "" {
		s.Date = j.req.Source.Date
	}
	if len(j.entity.Sources) > 1000 {
		return j.req.Source.ID
	}
	if !slices.ContainsFunc(j.entity.Sources, func(o rules.Source) bool { return o.ID == s.ID }) {
		j.entity.Sources = append(j.entity.Sources, s)
	}
	return s.ID
}

// actor declares an intrusion group that the feed ties indicators to. The tie is
// the feed's claim, hence its confidence.
func (j *job) actor(name string) string {
	name = printable(strings.TrimSpace(name), 100)
	if name == "" || len(j.entity.Actors) > 1000 {
		return ""
	}
	if !slices.ContainsFunc(j.entity.Actors, func(a rules.Actor) bool { return a.Name == name }) {
		j.entity.Actors = append(j.entity.Actors, rules.Actor{
			Name: name, Confidence: j.req.Confidence, Sources: []string{j.req.Source.ID},
			Note: "named by the feed; the feed's claim",
		})
	}
	return name
}

func (j *job) result() *Result {
	j.state.At = j.req.Now().UTC()
	r := &Result{Report: j.report, State: j.state, Partial: j.partial, Entities: j.list, Withdrawn: j.withdrawn}
	// An entity without an indicator would make an empty feed look like one of one.
	if n := len(j.entity.Indicators); n > 0 && (j.list == nil || n > len(j.req.Entity.Indicators)) {
		r.Entities = append(r.Entities, j.entity)
	}
	return r
}

// skew is how far a producer's clock may be ahead of ours.
const skew = time.Hour

// latest is the latest time a producer can mean: positions in a feed must not go
// beyond it, or what comes after a slip of the pen is never asked for.
func (j *job) latest() time.Time { return j.req.Now().UTC().Add(skew) }
