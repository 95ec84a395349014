package store

import (
	"cmp"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// upsertFinding keeps the highest revision, whatever the order they come in. The
// parameters of a row are its values, the key, the time of storing, and the words
// where they are a column.
func (d dialect) upsertFinding() statement {
	columns := rowColumns + ", key, stored"
	var set []string
	for name := range strings.SplitSeq(columns, ",") {
		if name = strings.TrimSpace(name); name != "agent" && name != "id" {
			set = append(set, name+" = excluded."+name)
		}
	}
	values := strings.Repeat("?, ", strings.Count(columns, ",")) + "?"
	if d.wordsValue != "" {
		columns, values, set = columns+", words", values+", "+d.wordsValue, append(set, "words = excluded.words")
	}
	return statement{
		"INSERT INTO findings (" + columns + ") VALUES ", "(" + values + ")",
		" ON CONFLICT (agent, id) DO UPDATE SET " + strings.Join(set, ", ") + " WHERE excluded.revision > findings.revision RETURNING agent, id, key",
	}
}

// findingKey tells findings apart.
type findingKey struct{ agent, id string }

// indexed is what a finding is found by.
type indexed struct {
	key   int64
	words string
}

// saved is a finding that is now the one kept, and its key.
type saved struct {
	*incoming
	key int64
}

// upsert saves findings, of which each comes once, and gives those that are not
// older than the one kept.
func (b *saver) upsert(list []*incoming) ([]saved, error) {
	rows := make([]row, len(list))
	for i, x := range list {
		var err error
		if rows[i], err = findingRow(x.entry, &x.finding); err != nil {
			return nil, err
		}
	}
	places, err := b.places(rows)
	if err != nil {
		return nil, fmt.Errorf("find free keys: %w", err)
	}
	texts := map[findingKey]string{}
	values := make([][]any, len(list))
	for i, x := range list {
		text := words(&x.finding, &rows[i])
		texts[x.key()] = text
		values[i] = append(rows[i].values(), places[i], b.now)
		if b.dialect.wordsValue != "" {
			values[i] = append(values[i], text)
		}
	}
	kept := map[findingKey]int64{}
	err = b.run(b.dialect.upsertFinding(), values, func(rows *sql.Rows) error {
		var k findingKey
		var key int64
		err := rows.Scan(&k.agent, &k.id, &key)
		kept[k] = key
		return err
	})
	var result []saved
	for _, x := range list {
		key, ok := kept[x.key()]
		if !ok {
			continue // an older revision than the one kept
		}
		result = append(result, saved{x, key})
		if b.dialect.wordsValue == "" {
			b.index[x.key()] = indexed{key, texts[x.key()]}
		}
	}
	return result, err
}

// indexWords is for a full-text index apart.
var indexWords = statement{"INSERT INTO findings_words (words, rowid) VALUES ", tuple(2), ""}

// addWords has the batch's findings found, in the order of their keys: SQLite's
// full-text index writes out what it has gathered whenever one is out of order.
func (b *saver) addWords() error {
	var rows [][]any
	for _, x := range slices.SortedFunc(maps.Values(b.index), func(x, y indexed) int { return cmp.Compare(x.key, y.key) }) {
		rows = append(rows, []any{x.words, x.key})
	}
	if err := b.run(indexWords, rows, nil); err != nil {
		return fmt.Errorf("index findings: %w", err)
	}
	return nil
}
