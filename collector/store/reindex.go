package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"sallyport/rules"
)

// reindexSchema is the schema that leaves what findings are found by to reindex.
const reindexSchema = 5

// reindexPage is how many findings are read at once.
const reindexPage = 1000

// reindex fills in what findings are found by from their documents.
func (s *Store) reindex(ctx context.Context, tx *sql.Tx) error {
	for after, more := int64(0), true; more; {
		list, err := s.wordsAfter(ctx, tx, after)
		if err != nil {
			return err
		}
		for _, x := range list {
			if _, err := tx.ExecContext(ctx, s.dialect.bind(s.dialect.addWords), x.words, x.key); err != nil {
				return fmt.Errorf("index finding: %w", err)
			}
			after = x.key
		}
		more = len(list) > 0
	}
	return nil
}

// wordsAfter reads findings and makes their words, in the order of their keys.
func (s *Store) wordsAfter(ctx context.Context, tx *sql.Tx, after int64) ([]indexed, error) {
	rows, err := tx.QueryContext(ctx, s.dialect.bind("SELECT "+rowColumns+", key FROM findings WHERE key > ? ORDER BY key LIMIT ?"), after, reindexPage)
	if err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	defer rows.Close()
	var list []indexed
	for rows.Next() {
		var r row
		var x indexed
		if err := rows.Scan(append(r.fields(), &x.key)...); err != nil {
			return nil, fmt.Errorf("read findings: %w", err)
		}
		var f rules.Finding
		if err := json.Unmarshal([]byte(r.document), &f); err != nil {
			return nil, fmt.Errorf("decode finding %s of %s: %w", r.id, r.agent, err)
		}
		x.words = words(&f, &r)
		list = append(list, x)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read findings: %w", err)
	}
	return list, nil
}
