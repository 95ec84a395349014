package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// User is a person who may sign in to the console.
type User struct {
	Name         string    `json:"name"`
	PasswordHash string    `json:"-"`
	Role         string    `json:"role"`
	Evidence     bool      `json:"evidence"` // may read packets
	MustChange   bool      `json:"must_change"`
	Created      time.Time `json:"created"`
}

// Session is a signed-in browser. Only the hash of its cookie is kept.
type Session struct {
	Hash    string
	User    string
	CSRF    string
	Created time.Time
	Seen    time.Time
	Expires time.Time
}

// APIToken lets a program read. Only the hash of its secret is kept.
type APIToken struct {
	Name     string    `json:"name"`
	Hash     string    `json:"-"`
	Role     string    `json:"role"`
	Evidence bool      `json:"evidence"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Revoked  time.Time `json:"revoked,omitzero"`
}

// ErrExists is returned where the name is taken.
var ErrExists = errors.New("already exists")

// AddUser keeps a new user.
func (s *Store) AddUser(ctx context.Context, u User) error {
	n, err := s.exec(ctx, `INSERT INTO users (name, password_hash, role, evidence, must_change, created)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`, u.Name, u.PasswordHash, u.Role, number(u.Evidence), number(u.MustChange), micros(u.Created))
	if err != nil {
		return fmt.Errorf("add user: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("user %s: %w", u.Name, ErrExists)
	}
	return nil
}

// SetPassword changes a user's password and ends all sessions of the user.
func (s *Store) SetPassword(ctx context.Context, name, hash string, mustChange bool) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, s.dialect.bind("UPDATE users SET password_hash = ?, must_change = ? WHERE name = ?"), hash, number(mustChange), name)
		if err != nil {
			return fmt.Errorf("set password: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("user %s: %w", name, ErrNotFound))
		}
		if _, err := tx.ExecContext(ctx, s.dialect.bind("DELETE FROM sessions WHERE username = ?"), name); err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		return nil
	})
}

// RemoveUser removes a user and the user's sessions.
func (s *Store) RemoveUser(ctx context.Context, name string) error {
	n, err := s.exec(ctx, "DELETE FROM users WHERE name = ?", name)
	if err != nil {
		return fmt.Errorf("remove user: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("user %s: %w", name, ErrNotFound)
	}
	return nil
}

// Users lists all users by name.
func (s *Store) Users(ctx context.Context) ([]User, error) { return s.users(ctx, "1 = 1") }

// User reads one user.
func (s *Store) User(ctx context.Context, name string) (User, error) {
	list, err := s.users(ctx, "name = ?", name)
	if err != nil {
		return User{}, err
	}
	if len(list) == 0 {
		return User{}, fmt.Errorf("user %s: %w", name, ErrNotFound)
	}
	return list[0], nil
}

func (s *Store) users(ctx context.Context, where string, args ...any) ([]User, error) {
	var list []User
	err := s.each(ctx, "SELECT name, password_hash, role, evidence, must_change, created FROM users WHERE "+where+" ORDER BY name", args, func(rows *sql.Rows) error {
		var u User
		var evidence, change, created int64
		if err := rows.Scan(&u.Name, &u.PasswordHash, &u.Role, &evidence, &change, &created); err != nil {
			return err
		}
		u.Evidence, u.MustChange, u.Created = evidence != 0, change != 0, fromMicros(created)
		list = append(list, u)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return list, nil
}

// AddSession keeps a new session and clears out those that have run out.
func (s *Store) AddSession(ctx context.Context, n Session) error {
	if _, err := s.exec(ctx, "DELETE FROM sessions WHERE expires <= ?", micros(n.Created)); err != nil {
		return fmt.Errorf("clear sessions: %w", err)
	}
	_, err := s.exec(ctx, "INSERT INTO sessions (secret_hash, username, csrf, created, seen, expires) VALUES (?, ?, ?, ?, ?, ?)",
		n.Hash, n.User, n.CSRF, micros(n.Created), micros(n.Seen), micros(n.Expires))
	if err != nil {
		return fmt.Errorf("add session: %w", err)
	}
	return nil
}

// Session reads the session with this hash.
func (s *Store) Session(ctx context.Context, hash string) (Session, error) {
	var n Session
	var created, seen, expires int64
	err := s.read.QueryRowContext(ctx, s.dialect.bind("SELECT secret_hash, username, csrf, created, seen, expires FROM sessions WHERE secret_hash = ?"), hash).
		Scan(&n.Hash, &n.User, &n.CSRF, &created, &seen, &expires)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Session{}, fmt.Errorf("session: %w", ErrNotFound)
	case err != nil:
		return Session{}, fmt.Errorf("read session: %w", err)
	}
	n.Created, n.Seen, n.Expires = fromMicros(created), fromMicros(seen), fromMicros(expires)
	return n, nil
}

// TouchSession notes that the session was used.
func (s *Store) TouchSession(ctx context.Context, hash string, at time.Time) error {
	if _, err := s.exec(ctx, "UPDATE sessions SET seen = ? WHERE secret_hash = ?", micros(at), hash); err != nil {
		return fmt.Errorf("touch session: %w", err)
	}
	return nil
}

// RemoveSession signs out.
func (s *Store) RemoveSession(ctx context.Context, hash string) error {
	if _, err := s.exec(ctx, "DELETE FROM sessions WHERE secret_hash = ?", hash); err != nil {
		return fmt.Errorf("remove session: %w", err)
	}
	return nil
}

// AddAPIToken keeps a new API token.
func (s *Store) AddAPIToken(ctx context.Context, t APIToken) error {
	n, err := s.exec(ctx, `INSERT INTO api_tokens (name, secret_hash, role, evidence, created, expires) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO NOTHING`, t.Name, t.Hash, t.Role, number(t.Evidence), micros(t.Created), micros(t.Expires))
	if err != nil {
		return fmt.Errorf("add API token: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("API token %s: %w", t.Name, ErrExists)
	}
	return nil
}

// APITokens lists all API tokens by name.
func (s *Store) APITokens(ctx context.Context) ([]APIToken, error) {
	return s.apiTokens(ctx, "1 = 1")
}

// APITokenByHash finds the API token with this hash.
func (s *Store) APITokenByHash(ctx context.Context, hash string) (APIToken, error) {
	list, err := s.apiTokens(ctx, "secret_hash = ?", hash)
	if err != nil {
		return APIToken{}, err
	}
	if len(list) == 0 {
		return APIToken{}, fmt.Errorf("API token: %w", ErrNotFound)
	}
	return list[0], nil
}

func (s *Store) apiTokens(ctx context.Context, where string, args ...any) ([]APIToken, error) {
	var list []APIToken
	err := s.each(ctx, "SELECT name, secret_hash, role, evidence, created, expires, revoked FROM api_tokens WHERE "+where+" ORDER BY name", args, func(rows *sql.Rows) error {
		var t APIToken
		var evidence, created, expires, revoked int64
		if err := rows.Scan(&t.Name, &t.Hash, &t.Role, &evidence, &created, &expires, &revoked); err != nil {
			return err
		}
		t.Evidence, t.Created, t.Expires, t.Revoked = evidence != 0, fromMicros(created), fromMicros(expires), fromMicros(revoked)
		list = append(list, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list API tokens: %w", err)
	}
	return list, nil
}

// RevokeAPIToken ends an API token.
func (s *Store) RevokeAPIToken(ctx context.Context, name string, at time.Time) error {
	n, err := s.exec(ctx, "UPDATE api_tokens SET revoked = ? WHERE name = ? AND revoked = 0", micros(at), name)
	if err != nil {
		return fmt.Errorf("revoke API token: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("API token %s: %w", name, ErrNotFound)
	}
	return nil
}
