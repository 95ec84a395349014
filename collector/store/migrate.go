package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrations embed.FS

// postgresLock has one collector of several migrate while the others wait.
const postgresLock = 0x53414c4c59 // "SALLY"

// migrate brings the schema up to date, one transaction a step. A database newer
// than this collector is refused: an older one would not know its columns.
func (s *Store) migrate(ctx context.Context) error {
	steps, err := s.steps()
	if err != nil {
		return err
	}
	return s.tx(ctx, func(tx *sql.Tx) error {
		if s.dialect.numbered {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", postgresLock); err != nil {
				return fmt.Errorf("lock schema: %w", err)
			}
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"); err != nil {
			return fmt.Errorf("open store: %w", err)
		}
		var have int
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&have); err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		if have > len(steps) {
			return fmt.Errorf("the store has schema %d, this collector knows %d; use a collector at least as new as the one that wrote it", have, len(steps))
		}
		for i := have; i < len(steps); i++ {
			if _, err := tx.ExecContext(ctx, steps[i]); err != nil {
				return fmt.Errorf("migrate store to schema %d: %w", i+1, err)
			}
			if i+1 == reindexSchema {
				if err := s.reindex(ctx, tx); err != nil {
					return fmt.Errorf("migrate store to schema %d: %w", i+1, err)
				}
			}
			if _, err := tx.ExecContext(ctx, s.dialect.bind("INSERT INTO schema_version (version) VALUES (?)"), i+1); err != nil {
				return fmt.Errorf("migrate store to schema %d: %w", i+1, err)
			}
		}
		return nil
	})
}

// steps reads migrations/DIALECT_NNNN.sql in order.
func (s *Store) steps() ([]string, error) {
	names, err := fs.Glob(migrations, "migrations/"+s.dialect.name+"_*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var steps []string
	for i, name := range names {
		base := strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"+s.dialect.name+"_"), ".sql")
		if n, err := strconv.Atoi(base); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s is out of order", name)
		}
		text, err := migrations.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(text))
	}
	return steps, nil
}
