package packfetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"sallyport/rules"
	"sallyport/rules/pack"
)

// remote is the collector's side.
type remote struct {
	client *http.Client
	url    string
}

// get asks for a path, unless it still is what etag names. The body is nil then.
func (r remote) get(ctx context.Context, path, etag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.url, "/")+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the collector: %w", err)
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotModified {
		return resp, nil
	}
	defer resp.Body.Close()
	var p rules.Problem
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&p) != nil {
		p = rules.Problem{}
	}
	return nil, fmt.Errorf("the collector answered %d %q %q", resp.StatusCode, cut(p.Code), cut(p.Detail))
}

func cut(s string) string { return s[:min(len(s), 200)] }

// list asks what there is, nil when that is what etag names still.
func (r remote) list(ctx context.Context, etag string) (*rules.PackList, string, error) {
	resp, err := r.get(ctx, rules.PathPacks, etag)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return nil, etag, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxList+1))
	if err != nil {
		return nil, "", fmt.Errorf("read list of packs: %w", err)
	}
	var list rules.PackList
	if len(body) > maxList {
		return nil, "", errors.New("read list of packs: it is too long")
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, "", fmt.Errorf("read list of packs: %w", err)
	}
	if len(list.Packs) > maxOffers {
		return nil, "", fmt.Errorf("read list of packs: %d packs; %d are the most", len(list.Packs), maxOffers)
	}
	return &list, resp.Header.Get("ETag"), nil
}

// pack writes an archive to a file, unless it still has the sum.
func (r remote) pack(ctx context.Context, name, sum, to string) (bool, error) {
	etag := ""
	if sum != "" {
		etag = `"` + sum + `"`
	}
	resp, err := r.get(ctx, rules.PathPacks+"/"+name, etag)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return false, nil
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return false, fmt.Errorf("store pack: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(resp.Body, pack.MaxArchive+1))
	if err == nil && n > pack.MaxArchive {
		err = pack.ErrTooBig
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return false, errors.Join(fmt.Errorf("fetch pack: %w", err), os.Remove(to))
	}
	return true, nil
}
