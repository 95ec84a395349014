package store

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// upsertFinding keeps the highest revision, whatever the order they come in. Its
// parameters are the row's values, the key, the time of storing, and the words
// where they are a column.
func (d dialect) upsertFinding() string {
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
	return "INSERT INTO findings (" + columns + ") VALUES (" + values + ") ON CONFLICT (agent, id) DO UPDATE SET " +
		strings.Join(set, ", ") + " WHERE excluded.revision > findings.revision RETURNING key"
}

// findingKey tells findings apart.
type findingKey struct{ agent, id string }

// indexed is what a finding is found by.
type indexed struct {
	key   int64
	words string
}

// upsert saves a row and gives its key; sql.ErrNoRows for an older revision than
// the one kept.
func (b *saver) upsert(r *row, words string) (int64, error) {
	free, err := b.place(r)
	if err != nil {
		return 0, err
	}
	args := append(r.values(), free, b.now)
	if b.dialect.wordsValue != "" {
		args = append(args, words)
	}
	st, err := b.prepare(b.dialect.upsertFinding())
	if err != nil {
		return 0, err
	}
	var key int64
	if err := st.QueryRowContext(b.ctx, args...).Scan(&key); err != nil {
		return 0, err
	}
	if b.dialect.wordsValue == "" {
		b.index[findingKey{r.agent, r.id}] = indexed{key, words}
	}
	return key, nil
}

// addWords has the batch's findings found, in the order of their keys: SQLite's
// full-text index writes out what it has gathered whenever one is out of order.
func (b *saver) addWords() error {
	for _, x := range slices.SortedFunc(maps.Values(b.index), func(x, y indexed) int { return cmp.Compare(x.key, y.key) }) {
		if _, err := b.exec(b.dialect.addWords, x.words, x.key); err != nil {
			return fmt.Errorf("index finding: %w", err)
		}
	}
	return nil
}
