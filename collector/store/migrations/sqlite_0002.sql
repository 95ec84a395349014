-- The record: a log that only grows. Its entries' documents may go with age, their
-- digests stay.
CREATE TABLE record_entries (
    n           INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    agent       TEXT NOT NULL,
    id          TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    salt        TEXT NOT NULL,
    digest      TEXT NOT NULL,
    document    TEXT NOT NULL,
    removed     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, agent, id, revision)
);
CREATE INDEX record_entries_received ON record_entries (kind, received);

-- The hashes of the record's Merkle tree, in the order of tlog.StoredHashIndex.
CREATE TABLE record_hashes (
    place       INTEGER PRIMARY KEY,
    hash        TEXT NOT NULL
);

-- One row: who appends to the record holds it.
CREATE TABLE record_head (
    one         INTEGER PRIMARY KEY,
    size        INTEGER NOT NULL
);
INSERT INTO record_head (one, size) VALUES (1, 0);

CREATE TABLE record_checkpoints (
    size        INTEGER NOT NULL,
    signer      TEXT NOT NULL,
    at          INTEGER NOT NULL,
    note        TEXT NOT NULL,
    PRIMARY KEY (size, signer)
);

-- The stretch of time that each agent's heartbeats cover so far; when it ends it
-- goes into the record.
CREATE TABLE coverage (
    agent       TEXT PRIMARY KEY,
    document    TEXT NOT NULL
);

-- Every triage decision; the last one of a finding counts.
CREATE TABLE decisions (
    key         INTEGER PRIMARY KEY,
    agent       TEXT NOT NULL,
    id          TEXT NOT NULL,
    at          INTEGER NOT NULL,
    author      TEXT NOT NULL,
    state       TEXT NOT NULL,
    assignee    TEXT NOT NULL,
    decision    TEXT NOT NULL,
    note        TEXT NOT NULL
);
CREATE INDEX decisions_finding ON decisions (agent, id, key);
ALTER TABLE findings ADD COLUMN triage TEXT NOT NULL DEFAULT 'new';
ALTER TABLE findings ADD COLUMN assignee TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN decision TEXT NOT NULL DEFAULT '';

CREATE TABLE agent_labels (
    agent       TEXT NOT NULL,
    name        TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (agent, name)
);

-- Which agents reported one indicator by one rule, and when last.
CREATE TABLE burst_agents (
    rule        TEXT NOT NULL,
    indicator   TEXT NOT NULL,
    agent       TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (rule, indicator, agent)
);
CREATE INDEX burst_agents_at ON burst_agents (at);

ALTER TABLE sequences ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
