package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Token is an enrolment token. Only the hash of its secret is kept.
type Token struct {
	ID       string    `json:"id"`
	Hash     string    `json:"-"`
	Pattern  string    `json:"pattern"` // names it may enrol
	Uses     int       `json:"uses"`
	Left     int       `json:"left"`
	Replaces bool      `json:"replaces"` // may take over a name that is in use
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires"`
	Revoked  time.Time `json:"revoked,omitzero"`
}

const tokenColumns = "id, secret_hash, pattern, uses, uses_left, replaces, created, expires, revoked"

// AddToken keeps a new token.
func (s *Store) AddToken(ctx context.Context, t Token) error {
	_, err := s.exec(ctx, "INSERT INTO tokens ("+tokenColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		t.ID, t.Hash, t.Pattern, t.Uses, t.Left, number(t.Replaces), micros(t.Created), micros(t.Expires), micros(t.Revoked))
	if err != nil {
		return fmt.Errorf("add token: %w", err)
	}
	return nil
}

// Tokens lists all tokens, the newest first.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	return s.tokens(ctx, "1 = 1")
}

// TokenByHash finds the token with this hash.
func (s *Store) TokenByHash(ctx context.Context, hash string) (Token, error) {
	list, err := s.tokens(ctx, "secret_hash = ?", hash)
	if err != nil {
		return Token{}, err
	}
	if len(list) == 0 {
		return Token{}, fmt.Errorf("token: %w", ErrNotFound)
	}
	return list[0], nil
}

func (s *Store) tokens(ctx context.Context, where string, args ...any) ([]Token, error) {
	var list []Token
	err := s.each(ctx, "SELECT "+tokenColumns+" FROM tokens WHERE "+where+" ORDER BY created DESC, id", args, func(rows *sql.Rows) error {
		var t Token
		var replaces, created, expires, revoked int64
		if err := rows.Scan(&t.ID, &t.Hash, &t.Pattern, &t.Uses, &t.Left, &replaces, &created, &expires, &revoked); err != nil {
			return err
		}
		t.Replaces, t.Created, t.Expires, t.Revoked = replaces != 0, fromMicros(created), fromMicros(expires), fromMicros(revoked)
		list = append(list, t)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return list, nil
}

// RevokeToken ends a token.
func (s *Store) RevokeToken(ctx context.Context, id string, at time.Time) error {
	n, err := s.exec(ctx, "UPDATE tokens SET revoked = ? WHERE id = ? AND revoked = 0", micros(at), id)
	if err != nil {
		return fmt.Errorf("revoke token: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("token %s: %w", id, ErrNotFound)
	}
	return nil
}

// Certificate is a client certificate that was issued.
type Certificate struct {
	Serial  string    `json:"serial"` // hexadecimal
	Agent   string    `json:"agent"`
	KeyHash string    `json:"key_sha256"` // of the public key
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// ErrSpent is returned where a token has no use left, or ran out or was revoked
// in the meantime.
var ErrSpent = errors.New("token is spent")

// AddCertificate keeps a new certificate and makes its agent known. With a
// token's id it takes one of its uses, in the same transaction; replaced ends
// the agent's other certificates.
func (s *Store) AddCertificate(ctx context.Context, c Certificate, token string, replace bool) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		exec := func(query string, args ...any) (int64, error) {
			res, err := tx.ExecContext(ctx, s.dialect.bind(query), args...)
			if err != nil {
				return 0, fmt.Errorf("add certificate: %w", err)
			}
			return res.RowsAffected()
		}
		if token != "" {
			n, err := exec("UPDATE tokens SET uses_left = uses_left - 1 WHERE id = ? AND uses_left > 0 AND revoked = 0 AND expires > ?", token, micros(c.Issued))
			if err != nil {
				return err
			}
			if n == 0 {
				return ErrSpent
			}
		}
		if replace {
			if _, err := exec("UPDATE certificates SET revoked = ? WHERE agent = ? AND revoked = 0", micros(c.Issued), c.Agent); err != nil {
				return err
			}
		}
		if _, err := exec("INSERT INTO certificates (serial, agent, key_hash, issued, expires) VALUES (?, ?, ?, ?, ?)",
			c.Serial, c.Agent, c.KeyHash, micros(c.Issued), micros(c.Expires)); err != nil {
			return err
		}
		_, err := exec("INSERT INTO agents (name, enrolled) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", c.Agent, micros(c.Issued))
		return err
	})
}

// Certificates lists an agent's certificates, or all where agent is empty, the
// newest first.
func (s *Store) Certificates(ctx context.Context, agent string) ([]Certificate, error) {
	return s.certificates(ctx, "? = '' OR agent = ?", agent, agent)
}

// Revoked lists the certificates that were revoked and have not run out.
func (s *Store) Revoked(ctx context.Context, now time.Time) ([]Certificate, error) {
	return s.certificates(ctx, "revoked > 0 AND expires > ?", micros(now))
}

func (s *Store) certificates(ctx context.Context, where string, args ...any) ([]Certificate, error) {
	var list []Certificate
	err := s.each(ctx, "SELECT serial, agent, key_hash, issued, expires, revoked FROM certificates WHERE "+where+" ORDER BY issued DESC, serial", args, func(rows *sql.Rows) error {
		var c Certificate
		var issued, expires, revoked int64
		if err := rows.Scan(&c.Serial, &c.Agent, &c.KeyHash, &issued, &expires, &revoked); err != nil {
			return err
		}
		c.Issued, c.Expires, c.Revoked = fromMicros(issued), fromMicros(expires), fromMicros(revoked)
		list = append(list, c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list certificates: %w", err)
	}
	return list, nil
}

// RevokeAgent ends every certificate of an agent, and says how many were valid.
func (s *Store) RevokeAgent(ctx context.Context, agent string, at time.Time) (int, error) {
	n, err := s.exec(ctx, "UPDATE certificates SET revoked = ? WHERE agent = ? AND revoked = 0 AND expires > ?", micros(at), agent, micros(at))
	if err != nil {
		return 0, fmt.Errorf("revoke agent: %w", err)
	}
	if n == 0 {
		return 0, fmt.Errorf("valid certificate of %s: %w", agent, ErrNotFound)
	}
	return int(n), nil
}
