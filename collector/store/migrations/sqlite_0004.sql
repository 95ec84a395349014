-- What is asked for by one value, the newest first, must not read through all.
CREATE INDEX findings_user ON findings (username, last_seen DESC, key DESC);
CREATE INDEX findings_executable ON findings (executable, last_seen DESC, key DESC);
CREATE INDEX findings_rule ON findings (rule, last_seen DESC, key DESC);
CREATE INDEX findings_host ON findings (host, last_seen DESC, key DESC);
CREATE INDEX findings_pod ON findings (pod, last_seen DESC, key DESC);
-- For retention and backfill.
CREATE INDEX findings_received ON findings (received);
