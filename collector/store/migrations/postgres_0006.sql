CREATE INDEX findings_agent ON findings (agent, key);
CREATE INDEX findings_host ON findings (host, key);
CREATE INDEX findings_rule ON findings (rule, key);
CREATE INDEX findings_protocol ON findings (protocol, key);
CREATE INDEX findings_direction ON findings (direction, key);
CREATE INDEX findings_outcome ON findings (outcome, key);
CREATE INDEX findings_state ON findings (state, key);
CREATE INDEX findings_remote ON findings (remote, key);
CREATE INDEX findings_executable ON findings (executable, key);
CREATE INDEX findings_user ON findings (username, key);
CREATE INDEX findings_pod ON findings (pod, key);
CREATE INDEX findings_medium ON findings (key) WHERE severity >= 3;
CREATE INDEX findings_high ON findings (key) WHERE severity >= 4;
CREATE INDEX findings_critical ON findings (key) WHERE severity >= 5;
CREATE INDEX findings_test ON findings (key) WHERE test = 1;
CREATE INDEX findings_suppressed ON findings (key) WHERE suppressed = 1;
-- What reviewers have touched.
CREATE INDEX findings_triage ON findings (triage, key) WHERE triage <> 'new';
CREATE INDEX findings_assignee ON findings (assignee, key) WHERE assignee <> '';
CREATE INDEX findings_decision ON findings (decision, key) WHERE decision <> '';
-- How common words are decides between their index and the order of keys.
ALTER TABLE findings ALTER COLUMN words SET STATISTICS 1000;
CREATE INDEX findings_words ON findings USING GIN (words);
CREATE INDEX parked_resend ON parked (exporter, key) WHERE resend = 1;
