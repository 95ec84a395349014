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
	numbered bool   // parameters are $1, $2
	lock     string // ends a SELECT whose row is then changed
	bytewise string // orders text by its bytes
	now      string // microseconds since 1970, by the database's clock

	wordsValue string // makes the value of the column words of a text; empty: a table apart
	addWords   string // gives a finding its words; its parameters are text and key
	has        string // condition that the finding f has words, with one parameter
	one        string // SELECT that says whether any finding has words, with one parameter
}

var sqlite = dialect{
	name:     "sqlite",
	now:      "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
	addWords: "INSERT INTO findings_words (words, rowid) VALUES (?, ?)",
	has:      "EXISTS (SELECT 1 FROM findings_words WHERE findings_words MATCH ? AND rowid = f.key)",
	one:      "SELECT 1 FROM findings_words WHERE findings_words MATCH ? LIMIT 1",
}

var postgres = dialect{
	name:       "postgres",
	numbered:   true,
	lock:       " FOR UPDATE",
	bytewise:   ` COLLATE "C"`,
	now:        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
	wordsValue: "array_to_tsvector(string_to_array(?, ' '))",
	addWords:   "UPDATE findings SET words = array_to_tsvector(string_to_array(?, ' ')) WHERE key = ?",
	has:        "f.words @@ CAST(CAST(? AS text) AS tsquery)",
	one:        "SELECT 1 FROM findings WHERE words @@ CAST(CAST(? AS text) AS tsquery) LIMIT 1",
}

// all is the search for findings that have all of some words.
func (d dialect) all(words []word) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = d.quote(w)
	}
	if d.numbered {
		return strings.Join(list, " & ")
	}
	return strings.Join(list, " AND ")
}

// quote writes a word, which holds letters, digits, dots and colons only.
func (d dialect) quote(w word) string {
	switch {
	case d.numbered && w.begins:
		return "'" + w.text + "':*"
	case d.numbered:
		return "'" + w.text + "'"
	case w.begins:
		return `"` + w.text + `"*`
	}
	return `"` + w.text + `"`
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
