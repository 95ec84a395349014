package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"sallyport/rules"
)

// Agent is what the collector knows of an agent.
type Agent struct {
	Name        string           `json:"name"`
	Enrolled    time.Time        `json:"enrolled"`
	Heard       time.Time        `json:"heard,omitzero"`        // when its last heartbeat came, by the collector's clock
	LastFinding time.Time        `json:"last_finding,omitzero"` // when its last finding was stored
	Findings    uint64           `json:"findings"`              // revisions so far
	Address     string           `json:"address,omitempty"`
	Heartbeat   *rules.Heartbeat `json:"heartbeat,omitempty"`
}

// SaveHeartbeat keeps an agent's last heartbeat.
func (s *Store) SaveHeartbeat(ctx context.Context, agent, address string, at time.Time, h rules.Heartbeat) error {
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode heartbeat: %w", err)
	}
	_, err = s.exec(ctx, `INSERT INTO agents (name, enrolled, heartbeat_at, address, heartbeat) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, address = excluded.address, heartbeat = excluded.heartbeat
WHERE excluded.heartbeat_at >= agents.heartbeat_at`, agent, micros(at), micros(at), address, string(text))
	if err != nil {
		return fmt.Errorf("save heartbeat: %w", err)
	}
	return nil
}

// Agents lists every agent, by name.
func (s *Store) Agents(ctx context.Context) ([]Agent, error) {
	var list []Agent
	err := s.each(ctx, "SELECT name, enrolled, heartbeat_at, finding_at, findings, address, heartbeat FROM agents ORDER BY name", nil, func(rows *sql.Rows) error {
		var a Agent
		var enrolled, heard, found int64
		var text string
		if err := rows.Scan(&a.Name, &enrolled, &heard, &found, &a.Findings, &a.Address, &text); err != nil {
			return err
		}
		a.Enrolled, a.Heard, a.LastFinding = fromMicros(enrolled), fromMicros(heard), fromMicros(found)
		if text != "" {
			a.Heartbeat = new(rules.Heartbeat)
			if err := json.Unmarshal([]byte(text), a.Heartbeat); err != nil {
				return fmt.Errorf("decode heartbeat of %s: %w", a.Name, err)
			}
		}
		list = append(list, a)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	return list, nil
}
