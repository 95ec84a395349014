package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// taxiiMedia is the media type of TAXII 2.1 (section 1.6.8.1).
const taxiiMedia = "application/taxii+json;version=2.1"

// taxiiEnvelope is a page of objects (TAXII 2.1, section 3.7).
type taxiiEnvelope struct {
	More bool   `json:"more"`
	Next string `json:"next"`
}

// readTAXII reads a collection, page by page. From is the collection's URL,
// .../collections/ID/, with or without objects/ behind it. Later imports ask
// only for what was added since.
func readTAXII(ctx context.Context, j *job) error {
	if j.client == nil {
		return errors.New("a TAXII collection is fetched from a URL")
	}
	page, err := taxiiURL(j.req.From)
	if err != nil {
		return err
	}
	j.partial = j.state.AddedAfter != ""
	objects := map[string]*stixObject{}
	after, next := j.state.AddedAfter, ""
	for n := 0; ; n++ {
		if n >= j.req.Limits.Objects {
			return fmt.Errorf("more than %d pages", j.req.Limits.Objects)
		}
		env, last, err := j.taxiiPage(ctx, page, after, next, objects)
		if err != nil {
			return fmt.Errorf("page %d: %w", n+1, err)
		}
		if last != "" {
			j.state.AddedAfter = j.notAhead(last)
		}
		switch {
		case !env.More:
			return j.addSTIX(objects)
		case env.Next != "" && env.Next != next:
			next = env.Next
		case last != "" && last != after: // section 3.4: page by time instead
			after, next = last, ""
		default:
			return errors.New("the server promises more but names no way to it")
		}
	}
}

// notAhead keeps a position from running ahead of time.
func (j *job) notAhead(last string) string {
	at, err := time.Parse(time.RFC3339Nano, last)
	if err != nil || !at.After(j.latest()) {
		return last
	}
	j.report.note("the server says that objects were added on %s, which is in the future: the feed's position stays in the present", printable(last, 40))
	return j.req.Now().UTC().Format(time.RFC3339Nano)
}

func taxiiURL(from string) (*url.URL, error) {
	u, err := url.Parse(from)
	if err != nil {
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/objects") + "/objects/"
	if !strings.Contains(u.Path, "/collections/") {
		return nil, errors.New("the URL must be that of a collection: .../collections/ID/")
	}
	return u, nil
}

// taxiiPage fetches one page into objects, and returns when its last object was
// added, as the server writes it.
func (j *job) taxiiPage(ctx context.Context, base *url.URL, after, next string, objects map[string]*stixObject) (taxiiEnvelope, string, error) {
	u := *base
	q := u.Query()
	if after != "" {
		q.Set("added_after", after)
	}
	if next != "" {
		q.Set("next", next)
	}
	u.RawQuery = q.Encode()
	var env taxiiEnvelope
	resp, err := j.client.do(ctx, u.String(), http.Header{"Accept": {taxiiMedia}})
	if err != nil {
		return env, "", err
	}
	b, err := body(resp)
	if err != nil {
		return env, "", err
	}
	defer b.Close()
	if t := resp.Header.Get("Content-Type"); !strings.HasPrefix(t, "application/taxii+json") {
		return env, "", fmt.Errorf("the server answers %q, not TAXII 2.1", printable(t, 60))
	}
	data, err := io.ReadAll(b)
	if err != nil {
		return env, "", fmt.Errorf("read page: %w", err)
	}
	if err := json.Unmarshal(data, &env); err != nil {
		return env, "", fmt.Errorf("parse page: %w", err)
	}
	page, err := j.stixObjects(data, "envelope")
	if err != nil {
		return env, "", err
	}
	for id, o := range page {
		if old, ok := objects[id]; !ok || old.Modified <= o.Modified {
			objects[id] = o
		}
	}
	if len(objects) > j.req.Limits.Rows {
		return env, "", errTooMany
	}
	last := resp.Header.Get("X-TAXII-Date-Added-Last")
	if _, err := time.Parse(time.RFC3339Nano, last); err != nil {
		last = ""
	}
	return env, last, nil
}
