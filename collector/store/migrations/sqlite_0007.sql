-- Who does what only one collector may at a time.
CREATE TABLE leases (
    name        TEXT PRIMARY KEY,
    holder      TEXT NOT NULL,
    until       INTEGER NOT NULL
);
-- Files that every collector must have.
CREATE TABLE shared_files (
    name        TEXT PRIMARY KEY,
    version     INTEGER NOT NULL,
    content     BLOB NOT NULL
);
