package store

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // database/sql knows drivers by registration only
)

// dialect is what differs between the databases.
type dialect struct {
	name     string
	numbered bool                  // parameters are $1, $2
	words    string                // the condition for a full-text search, with one parameter
	phrase   func([]string) string // words in this order, the last one cut short or not
	lock     string                // ends a SELECT whose row is then changed
}

var sqlite = dialect{
	name:   "sqlite",
	words:  "f.key IN (SELECT rowid FROM findings_words WHERE findings_words MATCH ?)",
	phrase: func(words []string) string { return `"` + strings.Join(words, " ") + `"*` },
}

var postgres = dialect{
	name:     "postgres",
	numbered: true,
	lock:     " FOR UPDATE",
	words:    "f.words_index @@ to_tsquery('simple', ?)",
	phrase: func(words []string) string {
		return "(" + strings.Join(words, " <-> ") + ":*)"
	},
}

// and joins phrases so that all must be found.
func (d dialect) and(phrases []string) string {
	if d.numbered {
		return strings.Join(phrases, " & ")
	}
	return strings.Join(phrases, " AND ")
}

// bind writes "?" as the database wants it. No statement of ours holds a
// question mark in a literal.
func (d dialect) bind(query string) string {
	if !d.numbered {
		return query
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r != '?' {
			b.WriteRune(r)
			continue
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
	return b.String()
}

// SQLiteFile is the database's name in the state folder.
const SQLiteFile = "store.db"

func (s *Store) openSQLite(state string) error {
	s.dialect = sqlite
	path := filepath.Join(state, SQLiteFile)
	// The file holds packets and password hashes: nobody else may read it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	// synchronous=FULL syncs the write-ahead log at every commit: what the stream
	// is told to forget must be on the disk.
	options := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(20000)"}}
	dsn := "file:" + (&url.URL{Path: path}).EscapedPath() + "?"
	options.Set("_txlock", "immediate")
	if s.write, err = sql.Open("sqlite", dsn+options.Encode()); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	s.write.SetMaxOpenConns(1)
	options.Set("_txlock", "deferred")
	if s.read, err = sql.Open("sqlite", dsn+options.Encode()); err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	s.read.SetMaxOpenConns(s.cfg.Readers)
	return nil
}

func (s *Store) openPostgres() error {
	s.dialect = postgres
	cfg, err := pgx.ParseConfig(s.cfg.Postgres)
	if err != nil {
		return fmt.Errorf("read store.postgres: %w", err)
	}
	if file := s.cfg.PostgresPasswordFile; file != "" {
		secret, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read store.postgres_password_file: %w", err)
		}
		cfg.Password = strings.TrimRight(string(secret), "\r\n")
	}
	s.write = stdlib.OpenDB(*cfg)
	s.write.SetMaxOpenConns(s.cfg.Readers + 2)
	s.read = s.write
	return nil
}
