CREATE TABLE findings (
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
    words       TEXT NOT NULL,
    document    TEXT NOT NULL,
    UNIQUE (agent, id)
);
CREATE INDEX findings_last ON findings (last_seen DESC, key DESC);
CREATE INDEX findings_severity ON findings (severity, last_seen DESC, key DESC);
CREATE INDEX findings_agent ON findings (agent, last_seen DESC, key DESC);
CREATE INDEX findings_protocol ON findings (protocol, last_seen DESC, key DESC);
CREATE INDEX findings_remote ON findings (remote, last_seen DESC, key DESC);
CREATE INDEX findings_id ON findings (id);

CREATE VIRTUAL TABLE findings_words USING fts5 (words, content='findings', content_rowid='key', tokenize='unicode61 remove_diacritics 0');
CREATE TRIGGER findings_insert AFTER INSERT ON findings BEGIN
    INSERT INTO findings_words (rowid, words) VALUES (new.key, new.words);
END;
CREATE TRIGGER findings_delete AFTER DELETE ON findings BEGIN
    INSERT INTO findings_words (findings_words, rowid, words) VALUES ('delete', old.key, old.words);
END;
CREATE TRIGGER findings_update AFTER UPDATE OF words ON findings WHEN old.words <> new.words BEGIN
    INSERT INTO findings_words (findings_words, rowid, words) VALUES ('delete', old.key, old.words);
    INSERT INTO findings_words (rowid, words) VALUES (new.key, new.words);
END;

CREATE TABLE parked (
    key         INTEGER PRIMARY KEY,
    exporter    TEXT NOT NULL,
    agent       TEXT NOT NULL,
    id          TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    parked_at   INTEGER NOT NULL,
    resend      INTEGER NOT NULL DEFAULT 0,
    document    TEXT NOT NULL,
    UNIQUE (exporter, agent, id, revision)
);

CREATE TABLE access_log (
    key         INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    actor       TEXT NOT NULL,
    action      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    address     TEXT NOT NULL
);

CREATE TABLE finding_entities (
    key         INTEGER NOT NULL REFERENCES findings (key) ON DELETE CASCADE,
    entity      TEXT NOT NULL,
    PRIMARY KEY (entity, key)
);
CREATE INDEX finding_entities_key ON finding_entities (key);

CREATE TABLE evidence (
    agent       TEXT NOT NULL,
    id          TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    packets     INTEGER NOT NULL,
    content     INTEGER NOT NULL,
    pcapng      BLOB NOT NULL,
    received    INTEGER NOT NULL,
    PRIMARY KEY (agent, id)
);

-- Every revision that came, so that what was sent and what is kept can be counted.
CREATE TABLE revisions (
    agent       TEXT NOT NULL,
    id          TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    severity    INTEGER NOT NULL,
    flows       INTEGER NOT NULL,
    received    INTEGER NOT NULL,
    epoch       TEXT NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (agent, id, revision)
);

-- Which numbers of an agent's sequence have come: a hole is a loss.
CREATE TABLE sequences (
    agent       TEXT NOT NULL,
    epoch       TEXT NOT NULL,
    ranges      TEXT NOT NULL,
    rejected    INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    PRIMARY KEY (agent, epoch)
);

CREATE TABLE agents (
    name         TEXT PRIMARY KEY,
    enrolled     INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL DEFAULT 0,
    finding_at   INTEGER NOT NULL DEFAULT 0,
    findings     INTEGER NOT NULL DEFAULT 0,
    address      TEXT NOT NULL DEFAULT '',
    heartbeat    TEXT NOT NULL DEFAULT ''
);

CREATE TABLE tokens (
    id          TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL UNIQUE,
    pattern     TEXT NOT NULL,
    uses        INTEGER NOT NULL,
    uses_left   INTEGER NOT NULL,
    replaces    INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    revoked     INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE certificates (
    serial      TEXT PRIMARY KEY,
    agent       TEXT NOT NULL,
    key_hash    TEXT NOT NULL,
    issued      INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    revoked     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX certificates_agent ON certificates (agent);

CREATE TABLE users (
    name          TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL,
    evidence      INTEGER NOT NULL,
    must_change   INTEGER NOT NULL,
    created       INTEGER NOT NULL
);

CREATE TABLE sessions (
    secret_hash TEXT PRIMARY KEY,
    username    TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    csrf        TEXT NOT NULL,
    created     INTEGER NOT NULL,
    seen        INTEGER NOT NULL,
    expires     INTEGER NOT NULL
);

CREATE TABLE api_tokens (
    name        TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL UNIQUE,
    role        TEXT NOT NULL,
    evidence    INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    expires     INTEGER NOT NULL,
    revoked     INTEGER NOT NULL DEFAULT 0
);
