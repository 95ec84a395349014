package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// SetLabel gives an agent a label; an empty value takes it away.
func (s *Store) SetLabel(ctx context.Context, agent, name, value string) error {
	query, args := "DELETE FROM agent_labels WHERE agent = ? AND name = ?", []any{agent, name}
	if value != "" {
		query = "INSERT INTO agent_labels (agent, name, value) VALUES (?, ?, ?) ON CONFLICT (agent, name) DO UPDATE SET value = excluded.value"
		args = append(args, value)
	}
	if _, err := s.exec(ctx, query, args...); err != nil {
		return fmt.Errorf("set label: %w", err)
	}
	return nil
}

// Labels lists every agent's labels.
func (s *Store) Labels(ctx context.Context) (map[string]map[string]string, error) {
	labels := map[string]map[string]string{}
	err := s.each(ctx, "SELECT agent, name, value FROM agent_labels", nil, func(rows *sql.Rows) error {
		var agent, name, value string
		if err := rows.Scan(&agent, &name, &value); err != nil {
			return err
		}
		if labels[agent] == nil {
			labels[agent] = map[string]string{}
		}
		labels[agent][name] = value
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list labels: %w", err)
	}
	return labels, nil
}

// Sighting is one agent's report of an indicator by a rule.
type Sighting struct {
	Rule, Indicator, Agent string
	At                     time.Time
}

// AddSightings notes who reported what.
func (s *Store) AddSightings(ctx context.Context, list []Sighting) error {
	return s.tx(ctx, func(tx *sql.Tx) error {
		for _, x := range list {
			_, err := tx.ExecContext(ctx, s.dialect.bind(`INSERT INTO burst_agents (rule, indicator, agent, at) VALUES (?, ?, ?, ?)
ON CONFLICT (rule, indicator, agent) DO UPDATE SET at = excluded.at WHERE excluded.at > burst_agents.at`), x.Rule, x.Indicator, x.Agent, micros(x.At))
			if err != nil {
				return fmt.Errorf("note sighting: %w", err)
			}
		}
		return nil
	})
}

// Burst is one indicator that many agents reported by one rule.
type Burst struct {
	Rule, Indicator string
	Agents          int
	First, Last     time.Time
}

// Bursts lists what at least a number of agents reported since a time, and
// forgets what is older.
func (s *Store) Bursts(ctx context.Context, since time.Time, agents int) ([]Burst, error) {
	if _, err := s.exec(ctx, "DELETE FROM burst_agents WHERE at < ?", micros(since)); err != nil {
		return nil, fmt.Errorf("forget sightings: %w", err)
	}
	var list []Burst
	err := s.each(ctx, `SELECT rule, indicator, COUNT(*), MIN(at), MAX(at) FROM burst_agents GROUP BY rule, indicator HAVING COUNT(*) >= ? ORDER BY rule, indicator`,
		[]any{agents}, func(rows *sql.Rows) error {
			var b Burst
			var first, last int64
			if err := rows.Scan(&b.Rule, &b.Indicator, &b.Agents, &first, &last); err != nil {
				return err
			}
			b.First, b.Last = fromMicros(first), fromMicros(last)
			list = append(list, b)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list bursts: %w", err)
	}
	return list, nil
}
