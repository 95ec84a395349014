-- When the last revision was stored: the order in which findings are streamed.
ALTER TABLE findings ADD COLUMN stored BIGINT NOT NULL DEFAULT 0;
CREATE INDEX findings_stored ON findings (stored, key);
