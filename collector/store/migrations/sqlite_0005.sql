-- Keys are in the order of the list (place.go), and words are one each: every
-- question is answered from an index in that order. What findings are found by is
-- filled in afterwards (reindex.go).
CREATE TABLE findings_5 (
    key         INTEGER PRIMARY KEY,
    agent       TEXT NOT NULL,
    id          TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    severity    INTEGER NOT NULL,
    test        INTEGER NOT NULL,
    retro       INTEGER NOT NULL,
    suppressed  INTEGER NOT NULL,
    host        TEXT NOT NULL,
    rule        TEXT NOT NULL,
    protocol    TEXT NOT NULL,
    direction   TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    remote      TEXT NOT NULL,
    remote_port INTEGER NOT NULL,
    executable  TEXT NOT NULL,
    username    TEXT NOT NULL,
    pod         TEXT NOT NULL,
    first_seen  INTEGER NOT NULL,
    last_seen   INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    legal_hold  INTEGER NOT NULL DEFAULT 0,
    triage      TEXT NOT NULL DEFAULT 'new',
    assignee    TEXT NOT NULL DEFAULT '',
    decision    TEXT NOT NULL DEFAULT '',
    stored      INTEGER NOT NULL DEFAULT 0,
    document    TEXT NOT NULL,
    UNIQUE (agent, id)
);
INSERT INTO findings_5
SELECT (MAX(1, MIN(last_seen / 1000, 8796093022206)) << 20) + ROW_NUMBER() OVER (PARTITION BY MAX(1, MIN(last_seen / 1000, 8796093022206)) ORDER BY key),
    agent, id, revision, state, severity, test, retro, suppressed, host, rule, protocol, direction, outcome, remote, remote_port,
    executable, username, pod, first_seen, last_seen, received, legal_hold, triage, assignee, decision, stored, document
FROM findings;
CREATE TABLE finding_entities_5 (
    key         INTEGER NOT NULL REFERENCES findings_5 (key) ON DELETE CASCADE ON UPDATE CASCADE,
    entity      TEXT NOT NULL,
    PRIMARY KEY (entity, key)
) WITHOUT ROWID;
INSERT INTO finding_entities_5 (key, entity)
SELECT n.key, e.entity FROM finding_entities e JOIN findings f ON f.key = e.key JOIN findings_5 n ON n.agent = f.agent AND n.id = f.id;
DROP TABLE finding_entities;
DROP TABLE findings_words;
DROP TABLE findings;
ALTER TABLE findings_5 RENAME TO findings;
ALTER TABLE finding_entities_5 RENAME TO finding_entities;
CREATE INDEX finding_entities_key ON finding_entities (key);
CREATE INDEX findings_id ON findings (id);
CREATE INDEX findings_stored ON findings (stored, key);
CREATE INDEX findings_received ON findings (received);
-- What reviewers have touched.
CREATE INDEX findings_triage ON findings (triage) WHERE triage <> 'new';
CREATE INDEX findings_assignee ON findings (assignee) WHERE assignee <> '';
CREATE INDEX findings_decision ON findings (decision) WHERE decision <> '';

CREATE VIRTUAL TABLE findings_words USING fts5 (words, content='', contentless_delete=1, detail=none, tokenize="ascii tokenchars '.:'");
CREATE TRIGGER findings_removed AFTER DELETE ON findings BEGIN
    DELETE FROM findings_words WHERE rowid = old.key;
END;
CREATE TRIGGER findings_moved AFTER UPDATE OF key ON findings BEGIN
    DELETE FROM findings_words WHERE rowid = old.key;
END;
