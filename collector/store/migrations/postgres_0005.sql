-- Keys are in the order of the list (place.go), and words are one each: every
-- question is answered from an index in that order. What findings are found by is
-- filled in afterwards (reindex.go).
ALTER TABLE finding_entities DROP CONSTRAINT finding_entities_key_fkey;
ALTER TABLE findings DROP COLUMN words_index, DROP COLUMN words;
ALTER TABLE findings ADD COLUMN words TSVECTOR NOT NULL DEFAULT '';
ALTER TABLE findings ALTER COLUMN key DROP IDENTITY;
CREATE TEMPORARY TABLE moved ON COMMIT DROP AS
SELECT key AS was, (GREATEST(1, LEAST(last_seen / 1000, 8796093022206)) << 20) + ROW_NUMBER() OVER (PARTITION BY GREATEST(1, LEAST(last_seen / 1000, 8796093022206)) ORDER BY key) AS key
FROM findings;
UPDATE finding_entities e SET key = m.key FROM moved m WHERE m.was = e.key;
UPDATE findings f SET key = m.key FROM moved m WHERE m.was = f.key;
ALTER TABLE finding_entities ADD CONSTRAINT finding_entities_key_fkey FOREIGN KEY (key) REFERENCES findings (key) ON DELETE CASCADE ON UPDATE CASCADE;
DROP INDEX findings_last, findings_severity, findings_agent, findings_protocol, findings_remote, findings_user, findings_executable, findings_rule, findings_host, findings_pod;
