package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"sallyport/collector/stream"
	"sallyport/rules"
)

var (
	protocols = []string{"rdp", "ssh", "vnc", "openvpn", "wireguard", "anydesk", "softether", "teamviewer", "socks", "ikev2"}
	outcomes  = []rules.Outcome{rules.OutcomeData, rules.OutcomeEstablished, rules.OutcomeAttempted, rules.OutcomeRefused}
)

// population is findings as a fleet makes them over ninety days: some remotes,
// entities and programs have many, most few.
type population struct {
	total, hosts, remotes, entities, users int
}

func newPopulation(total int) population {
	return population{total: total, hosts: 2000, remotes: 50000, entities: 200, users: 5000}
}

func (p population) id(n int) string { return fmt.Sprintf("%032x", n) }

func (p population) at(n int) time.Time {
	return start.Add(time.Duration(float64(90*24*time.Hour) * float64(n) / float64(p.total))).Truncate(time.Microsecond)
}

func (p population) remote(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(18 + n>>16), byte(n >> 8), byte(n)})
}

func (p population) name(n int) string { return fmt.Sprintf("host%d.region%d.example.com", n, n%30) }

// pick favours the low numbers: a tenth of them is picked half of the time.
func pick(random *rand.Rand, n int) int {
	x := random.Float64()
	return int(float64(n) * x * x * x)
}

// level is how severe findings are: one in a hundred is critical.
func level(random *rand.Rand) rules.Severity {
	for rank, share := range []int{40, 70, 90, 99} {
		if random.IntN(100) < share {
			return severities[rank]
		}
	}
	return rules.SeverityCritical
}

func (p population) finding(random *rand.Rand, n int) rules.Finding {
	at, host := p.at(n), fmt.Sprintf("node-%04d", random.IntN(p.hosts))
	remote, entity, program := pick(random, p.remotes), pick(random, p.entities), pick(random, 400)
	address := p.remote(remote).String()
	f := finding(host, p.id(n), 1)
	f.Evidence = &rules.Evidence{SHA256: fmt.Sprintf("%064x", n), Packets: 12}
	f.State = []string{"closed", "closed", "closed", "opened", "updated"}[random.IntN(5)]
	f.Severity, f.Test = level(random), random.IntN(1000) == 0
	f.First, f.Last, f.Created = at.Add(-time.Minute), at, at
	rule := random.IntN(40)
	f.Rule, f.Title = rules.RuleRef{ID: fmt.Sprintf("rule-%d", rule)}, fmt.Sprintf("Protocol of rule %d with an attributed remote", rule)
	f.Why = []string{"data went both ways", "the indicator is of high confidence and was last seen 12 days before the flow", "the protocol was confirmed on both sides"}
	f.Matches = []rules.Match{{
		Field: "remote.addr", Value: address, Entity: rules.EntityRef{ID: fmt.Sprintf("entity-%d", entity), Name: fmt.Sprintf("Entity Number%d Limited", entity)},
		Indicator:    rules.IndicatorRef{Type: "ip", Value: address},
		Designations: []rules.DesignationRef{{Authority: "OFAC", List: "SDN", Programme: "CYBER2"}},
		Statement:    fmt.Sprintf("a remote attributed to Entity Number%d Limited, reported by Example as used until 2026-03-01", entity),
	}}
	if random.IntN(50) == 0 {
		f.Suppressed = &rules.Suppressed{Reason: "approved"}
	}
	f.Observation = rules.Observation{
		FlowID: p.id(n), Host: host, Sensor: "socket", Transport: rules.TCP, Direction: rules.Outbound, Outcome: outcomes[pick(random, len(outcomes))], First: f.First, Last: at,
		Local:  rules.Endpoint{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(250))}), Port: uint16(32768 + random.IntN(28000))},
		Remote: rules.Endpoint{Addr: p.remote(remote), Port: 3389},
		Names:  []rules.Name{{Name: p.name(remote)}},
		Owner: rules.Owner{Attribution: rules.AttributionExact, Process: &rules.Process{
			PID: uint32(n), Executable: fmt.Sprintf("/usr/bin/program%d", program), User: fmt.Sprintf("user%d", random.IntN(p.users)),
			Args: []string{fmt.Sprintf("/usr/bin/program%d", program), "--connect", address},
		}},
		Identification: rules.Identification{Protocol: protocols[pick(random, len(protocols))], State: "confirmed", Evidence: "connection request; the server answered"},
	}
	if random.IntN(10) < 3 {
		f.Observation.Owner.Container = &rules.Container{Namespace: fmt.Sprintf("ns%d", random.IntN(40)), Pod: fmt.Sprintf("pod-%d", random.IntN(4000))}
	}
	return f
}

// item is a finding on its way into the store.
type item struct {
	row    row
	words  string
	entity string
	seq    int
}

func (it *item) key() int64 { return placeOf(it.row.last) + int64(it.seq%(1<<placeBits)) }

// kindness is how many findings are alike but for id and times: making each anew
// would take longer than storing it.
const kindness = 20

// items makes the findings from number n on, ahead of who takes them.
func (p population) items(ctx context.Context, from int) <-chan []item {
	const ahead, chunk = 4, 10000
	out := make(chan []item, ahead)
	go func() {
		defer close(out)
		random := rand.New(rand.NewPCG(3, uint64(from)))
		var kinds []item
		for n := from; n < p.total; {
			for range chunk / kindness {
				kinds = append(kinds, p.item(random, n))
			}
			kinds = kinds[max(0, len(kinds)-10*chunk/kindness):]
			list := make([]item, 0, chunk)
			for ; n < p.total && len(list) < chunk; n++ {
				list = append(list, p.again(kinds[random.IntN(len(kinds))], n))
			}
			select {
			case out <- list:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (p population) item(random *rand.Rand, n int) item {
	f := p.finding(random, n)
	r, err := findingRow(&stream.Entry{Agent: f.Agent.Name, Received: f.Last.Add(time.Second), Finding: documentOf(&f)}, &f)
	if err != nil {
		panic(fmt.Sprint("make row: ", err))
	}
	return item{r, words(&f, &r), f.Matches[0].Entity.ID, n}
}

// again is an item like another, with the id and the times of number n.
func (p population) again(it item, n int) item {
	first, last := p.at(it.seq).Add(-time.Minute), p.at(it.seq)
	at := p.at(n)
	it.row.document = strings.NewReplacer(
		stamp(first), stamp(at.Add(-time.Minute)), stamp(last), stamp(at), p.id(it.seq), p.id(n),
	).Replace(it.row.document)
	it.row.id, it.row.first, it.row.last, it.row.received = p.id(n), micros(at.Add(-time.Minute)), micros(at), micros(at.Add(time.Second))
	it.seq = n
	return it
}

func stamp(t time.Time) string { return t.Format(time.RFC3339Nano) }

// fill brings the store to p.total findings, past the checks of Save and in the
// order of their times. Indices that a load does not need are made afterwards.
func (p population) fill(b *testing.B, s *Store) {
	b.Helper()
	from := 0
	if err := s.read.QueryRowContext(b.Context(), "SELECT COUNT(*) FROM findings").Scan(&from); err != nil {
		b.Fatal(err)
	}
	if from >= p.total {
		return
	}
	indices := dropIndices(b, s)
	took := p.items(b.Context(), from)
	if s.dialect.numbered {
		p.copy(b, s, took)
	} else {
		p.insert(b, s, took)
	}
	loaded := time.Now()
	for _, text := range indices {
		execute(b, s, text)
	}
	p.review(b, s, from)
	if s.dialect.numbered {
		execute(b, s, "VACUUM ANALYZE")
	} else {
		execute(b, s, "ANALYZE")
		execute(b, s, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	b.Logf("indices made in %s", time.Since(loaded).Round(time.Second))
}

func execute(b *testing.B, s *Store, text string) {
	b.Helper()
	if _, err := s.write.ExecContext(b.Context(), text); err != nil {
		b.Fatalf("%s: %v", text, err)
	}
}

// dropIndices removes what CREATE INDEX made, and returns the statements.
func dropIndices(b *testing.B, s *Store) []string {
	b.Helper()
	query := "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('findings', 'finding_entities') AND sql IS NOT NULL"
	if s.dialect.numbered {
		query = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('findings', 'finding_entities') AND indexdef NOT LIKE '%UNIQUE%'"
	}
	var names, texts []string
	err := s.each(b.Context(), query, nil, func(rows *sql.Rows) error {
		var name, text string
		err := rows.Scan(&name, &text)
		names, texts = append(names, name), append(texts, text)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		execute(b, s, "DROP INDEX "+name)
	}
	return texts
}

// insert is for SQLite, a transaction a chunk.
func (p population) insert(b *testing.B, s *Store, items <-chan []item) {
	b.Helper()
	for _, text := range []string{"PRAGMA synchronous = OFF", "PRAGMA cache_size = -800000", "INSERT INTO findings_words (findings_words, rank) VALUES ('hashsize', 67108864)"} {
		execute(b, s, text)
	}
	load := statement{"INSERT INTO findings (" + rowColumns + ", key, stored) VALUES ", tuple(strings.Count(rowColumns, ",") + 3), ""}
	for list := range items {
		err := s.tx(b.Context(), func(tx *sql.Tx) error {
			x := saver{bulk: bulk{b.Context(), tx, s.dialect}, index: map[findingKey]indexed{}}
			var findings, entities, revisions [][]any
			for i := range list {
				it := &list[i]
				key := it.key()
				findings = append(findings, append(it.row.values(), key, it.row.received))
				x.index[findingKey{it.row.agent, it.row.id}] = indexed{key, it.words}
				entities = append(entities, []any{key, it.entity})
				revisions = append(revisions, []any{it.row.agent, it.row.id, 1, it.row.state, it.row.severity, 1, it.row.received, "e", it.seq})
			}
			if err := errors.Join(x.run(load, findings, nil), x.run(insertEntities, entities, nil), x.run(insertRevision, revisions, nil)); err != nil {
				return err
			}
			return x.addWords()
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	execute(b, s, "INSERT INTO findings_words (findings_words, rank) VALUES ('hashsize', 1048576)") // the default
	execute(b, s, "PRAGMA synchronous = FULL")
	execute(b, s, "PRAGMA cache_size = -2000")
}

// copy is for PostgreSQL.
func (p population) copy(b *testing.B, s *Store, items <-chan []item) {
	b.Helper()
	conn, err := s.write.Conn(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	err = conn.Raw(func(driver any) error {
		pg := driver.(*stdlib.Conn).Conn()
		for list := range items {
			if err := copyChunk(b.Context(), pg, list); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// copyChunk writes the text that COPY reads: tabs between columns, and no byte of
// ours needs escaping but the backslash.
func copyChunk(ctx context.Context, pg *pgx.Conn, list []item) error {
	var findings, entities, revisions bytes.Buffer
	for i := range list {
		it := &list[i]
		key := it.key()
		for _, v := range it.row.values() {
			fmt.Fprintf(&findings, "%v\t", v)
		}
		fmt.Fprintf(&findings, "%d\t%d\t'%s'\n", key, it.row.received, strings.ReplaceAll(it.words, " ", "' '"))
		fmt.Fprintf(&entities, "%d\t%s\n", key, it.entity)
		fmt.Fprintf(&revisions, "%s\t%s\t1\t%s\t%d\t1\t%d\te\t%d\n", it.row.agent, it.row.id, it.row.state, it.row.severity, it.row.received, it.seq)
	}
	for _, t := range []struct {
		into string
		from *bytes.Buffer
	}{
		{"findings (" + rowColumns + ", key, stored, words)", &findings}, {"finding_entities (key, entity)", &entities},
		{"revisions (agent, id, revision, state, severity, flows, received, epoch, seq)", &revisions},
	} {
		from := io.Reader(bytes.NewReader(bytes.ReplaceAll(t.from.Bytes(), []byte(`\`), []byte(`\\`))))
		if _, err := pg.PgConn().CopyFrom(ctx, from, "COPY "+t.into+" FROM STDIN"); err != nil {
			return err
		}
	}
	return nil
}

// review has reviewers look at one finding in five hundred, up to 20,000.
func (p population) review(b *testing.B, s *Store, from int) {
	b.Helper()
	if from > 0 {
		return
	}
	err := s.tx(b.Context(), func(tx *sql.Tx) error {
		for n := 0; n < min(p.total, 10_000_000); n += 500 {
			d := []string{"licensed", "benign", "confirmed_contact", ""}[n/500%4]
			state := TriageClosed
			if d == "" {
				state = TriageInProgress
			}
			if _, err := tx.ExecContext(b.Context(), s.dialect.bind("UPDATE findings SET triage = ?, assignee = ?, decision = ? WHERE id = ?"), state, "alice", d, p.id(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
