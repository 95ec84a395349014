package store

import (
	"context"
	"fmt"
)

// PutUser keeps a user, or gives one that is kept the role and evidence of u.
func (s *Store) PutUser(ctx context.Context, u User) error {
	_, err := s.exec(ctx, `INSERT INTO users (name, password_hash, role, evidence, must_change, created) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET role = excluded.role, evidence = excluded.evidence`,
		u.Name, u.PasswordHash, u.Role, number(u.Evidence), number(u.MustChange), micros(u.Created))
	if err != nil {
		return fmt.Errorf("put user: %w", err)
	}
	return nil
}
