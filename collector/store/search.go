package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// word is what is searched for: a whole word, or what begins so.
type word struct {
	text   string
	begins bool
}

// typed reads what a person typed: terms, all of which must be found. A term is
// found whole where any finding has it whole, else as the beginning of words; one
// that ends in * always so.
func (s *Store) typed(ctx context.Context, text string) ([]word, error) {
	var list []word
	for _, term := range strings.Fields(text) {
		begins := strings.HasSuffix(term, "*")
		for p := parts(term); len(p) > 0; p = p[min(len(p), maxParts):] {
			w := word{text: join(p)}
			if len(p) <= maxParts {
				known, err := s.known(ctx, w)
				if err != nil {
					return nil, err
				}
				w.begins = begins || !known
			}
			list = append(list, w)
		}
	}
	return list, nil
}

// known says whether any finding has a word.
func (s *Store) known(ctx context.Context, w word) (bool, error) {
	var one int
	err := s.read.QueryRowContext(ctx, s.dialect.bind(s.dialect.one), s.dialect.quote(w)).Scan(&one)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("look for word: %w", err)
	}
	return err == nil, nil
}
