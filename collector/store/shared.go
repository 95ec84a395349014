package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// SharedFile is a file that every collector must have.
type SharedFile struct {
	Name    string
	Version uint64 // rises with each change
	Content []byte
}

// SharedFiles lists the files, without their content, by name.
func (s *Store) SharedFiles(ctx context.Context) ([]SharedFile, error) {
	var list []SharedFile
	err := s.each(ctx, "SELECT name, version FROM shared_files ORDER BY name", nil, func(rows *sql.Rows) error {
		var f SharedFile
		var version int64
		err := rows.Scan(&f.Name, &version)
		f.Version = uint64(version)
		list = append(list, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list shared files: %w", err)
	}
	return list, nil
}

// SharedFile reads one file.
func (s *Store) SharedFile(ctx context.Context, name string) (SharedFile, error) {
	f := SharedFile{Name: name}
	var version int64
	err := s.read.QueryRowContext(ctx, s.dialect.bind("SELECT version, content FROM shared_files WHERE name = ?"), name).Scan(&version, &f.Content)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return f, fmt.Errorf("shared file %s: %w", name, ErrNotFound)
	case err != nil:
		return f, fmt.Errorf("read shared file: %w", err)
	}
	f.Version = uint64(version)
	return f, nil
}

// Share keeps a file for every collector, and gives its version.
func (s *Store) Share(ctx context.Context, name string, content []byte) (uint64, error) {
	var version int64
	err := s.write.QueryRowContext(ctx, s.dialect.bind(`INSERT INTO shared_files (name, version, content) VALUES (?, 1, ?)
ON CONFLICT (name) DO UPDATE SET version = shared_files.version + 1, content = excluded.content RETURNING version`), name, content).Scan(&version)
	if err != nil {
		return 0, fmt.Errorf("share file %s: %w", name, err)
	}
	return uint64(version), nil
}
