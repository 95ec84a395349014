// Package feeds fetches lists of others on a schedule, and makes of them packs
// that are signed with the site's own key and offered to agents. Agents fetch
// nothing themselves.
package feeds

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport/collector/packs"
	"sallyport/rules"
	"sallyport/rules/feed"
	"sallyport/rules/pack"
)

// Config is the sources and how their packs are signed.
type Config struct {
	// Key is the file of the private key that packs are signed with, and Chain that
	// of the statements that let it (sallyport rules pack key, delegate).
	Key   string `yaml:"key"`
	Chain string `yaml:"chain"`
	// Life is how long a pack holds. One is built anew after half of it, even where
	// nothing has changed.
	Life time.Duration `yaml:"life"`
	// Sources are what is fetched.
	Sources []Source `yaml:"sources"`
}

// Source is one feed.
type Source struct {
	Name string `yaml:"name"`
	// Kind is one of those that "sallyport rules import --help" lists.
	Kind string `yaml:"kind"`
	// URL is where it is: https, or an absolute path on this host.
	URL string `yaml:"url"`
	// Entity is whom the values of a plain list are tied to: the id or name of an
	// entity that ships, or the name of one without a designation.
	Entity string        `yaml:"entity"`
	Every  time.Duration `yaml:"every"` // 24h when left out; give or take a tenth
	// Confidence is that of rows which state none: low when left out.
	Confidence rules.Confidence `yaml:"confidence"`
	// Type is what hashes are, where the format does not say.
	Type rules.IndicatorType `yaml:"type"`
	// Programmes of an OFAC list: only entries under one of these.
	Programmes []string          `yaml:"programmes"`
	Client     feed.ClientConfig `yaml:"client"` // credentials come from files
	Pack       string            `yaml:"pack"`   // "local" when left out; several sources may share one
	Group      string            `yaml:"group"`  // of agents; "all" when left out
}

// DefaultConfig fetches nothing.
func DefaultConfig() Config { return Config{Life: 30 * 24 * time.Hour, Sources: []Source{}} }

// complete fills what was left out.
func (s Source) complete() Source {
	if s.Every == 0 {
		s.Every = 24 * time.Hour
	}
	if s.Client.Timeout == 0 {
		s.Client.Timeout = feed.DefaultClientConfig().Timeout
	}
	if s.Pack == "" {
		s.Pack = "local"
	}
	if s.Group == "" {
		s.Group = packs.All
	}
	return s
}

// Validate says what is wrong and what to write instead.
func (c Config) Validate() error {
	if c.Life < time.Hour {
		return fmt.Errorf("feeds.life is %s; give an hour or more", c.Life)
	}
	for what, p := range map[string]string{"key": c.Key, "chain": c.Chain} {
		if p != "" && !filepath.IsAbs(p) {
			return fmt.Errorf("feeds.%s is %q; give an absolute path", what, p)
		}
		if p == "" && len(c.Sources) > 0 {
			return fmt.Errorf("feeds.%s is empty; packs of feeds are signed with the site's own key: make it with sallyport rules pack key and delegate", what)
		}
	}
	seen := map[string]bool{}
	for _, s := range c.Sources {
		if err := s.complete().validate(); err != nil {
			return fmt.Errorf("feeds.sources: %q: %w", s.Name, err)
		}
		if seen[s.Name] {
			return fmt.Errorf("feeds.sources: two are named %q", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

func (s Source) validate() error {
	kinds := feed.Importers()
	switch {
	case !pack.ValidName(s.Name):
		return errors.New("name: use lower-case letters, digits and hyphens")
	case !slices.ContainsFunc(kinds, func(i feed.Importer) bool { return i.Kind == s.Kind }):
		names := make([]string, len(kinds))
		for i, k := range kinds {
			names[i] = k.Kind
		}
		return fmt.Errorf("kind %q is none of %s", s.Kind, strings.Join(names, ", "))
	case s.Every < time.Minute:
		return fmt.Errorf("every is %s; give a minute or more", s.Every)
	case !slices.Contains([]rules.Confidence{"", rules.ConfidenceLow, rules.ConfidenceMedium, rules.ConfidenceHigh}, s.Confidence):
		return fmt.Errorf("confidence %q is none of low, medium, high", s.Confidence)
	case !pack.ValidName(s.Pack):
		return fmt.Errorf("pack %q: use lower-case letters, digits and hyphens", s.Pack)
	}
	if err := validURL(s.URL); err != nil {
		return err
	}
	if _, err := feed.EntityFor(s.Entity); err != nil {
		return err
	}
	return s.Client.Validate()
}

func validURL(text string) error {
	if filepath.IsAbs(text) {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return errors.New("url: give https://..., or an absolute path")
	}
	if u.User != nil {
		return errors.New("url: it holds a password; put it into a file and name that in client.basic_file")
	}
	return nil
}
