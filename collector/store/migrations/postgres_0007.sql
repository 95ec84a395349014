-- Who does what only one collector may at a time.
CREATE TABLE leases (
    name        TEXT PRIMARY KEY,
    holder      TEXT NOT NULL,
    until       BIGINT NOT NULL
);
-- Files that every collector must have.
CREATE TABLE shared_files (
    name        TEXT PRIMARY KEY,
    version     BIGINT NOT NULL,
    content     BYTEA NOT NULL
);
