-- What is backed up, when, and for how long. The JSON columns hold the types of web/api/src/plan.rs.
CREATE TABLE plans (
    id                  BLOB    NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL UNIQUE,
    agent_id            BLOB    NOT NULL REFERENCES agents (id),
    work                TEXT    NOT NULL,             -- JSON
    time_rule           TEXT    NOT NULL,             -- JSON; `after` stands in its own column
    after_plan_id       BLOB    REFERENCES plans (id),
    keep                TEXT    NOT NULL,             -- JSON
    retry_count         INTEGER NOT NULL,
    retry_pause_s       INTEGER NOT NULL,
    paused              INTEGER NOT NULL,
    considered_until_ms INTEGER NOT NULL,             -- runs up to this time were made or left out
    last_good_at_ms     INTEGER,                      -- end of the last success
    created_at_ms       INTEGER NOT NULL,
    revision            INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX plans_by_agent ON plans (agent_id, id);
CREATE INDEX plans_after ON plans (after_plan_id);

-- One run of something long, and who has it in hand.
CREATE TABLE jobs (
    id                  BLOB    NOT NULL PRIMARY KEY,
    kind                TEXT    NOT NULL,             -- backup, restore, verify, check, prune
    state               TEXT    NOT NULL,             -- queued, running, succeeded, failed, cancelled
    cause               TEXT    NOT NULL,             -- calendar, after, person
    plan_id             BLOB    REFERENCES plans (id) ON DELETE SET NULL,
    plan_name           TEXT    NOT NULL,
    agent_id            BLOB    NOT NULL REFERENCES agents (id),
    run_key             TEXT    NOT NULL,             -- which run of the plan it is; the same run is never made twice
    work                TEXT    NOT NULL,             -- JSON, as the plan was when the job was made
    retry_count         INTEGER NOT NULL,
    retry_pause_s       INTEGER NOT NULL,
    due_at_ms           INTEGER NOT NULL,
    created_at_ms       INTEGER NOT NULL,
    started_at_ms       INTEGER,
    ended_at_ms         INTEGER,
    attempt             INTEGER NOT NULL DEFAULT 0,
    not_before_ms       INTEGER NOT NULL,
    cancelling          INTEGER NOT NULL DEFAULT 0,
    lease               BLOB,                         -- of the attempt under way or, afterwards, of the last one
    lease_instance      BLOB,                         -- the process that has it
    lease_expires_at_ms INTEGER,
    progress            TEXT,                         -- JSON
    result              TEXT,                         -- JSON
    error               TEXT,                         -- JSON
    point               TEXT,                         -- the recovery point that a success ended with, 64 hexadecimal digits
    UNIQUE (plan_id, run_key)
) STRICT;
-- Never two open jobs of one plan.
CREATE UNIQUE INDEX jobs_open ON jobs (plan_id) WHERE state IN ('queued', 'running');
CREATE INDEX jobs_of_agent ON jobs (agent_id, state);
CREATE INDEX jobs_of_plan ON jobs (plan_id, id);
CREATE INDEX jobs_running ON jobs (lease_expires_at_ms) WHERE state = 'running';

CREATE INDEX jobs_by_point ON jobs (point) WHERE point IS NOT NULL;

-- When somebody who can read a point found it whole. Until something later in its series is, retention gives it up for nothing.
ALTER TABLE receipts ADD COLUMN verified_at_ms INTEGER;

CREATE TABLE job_log (
    job_id  BLOB    NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    line    TEXT    NOT NULL,
    PRIMARY KEY (job_id, attempt, number)
) STRICT, WITHOUT ROWID;

-- What each agent said of its machine last.
CREATE TABLE machines (
    agent_id       BLOB    NOT NULL PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    instance       BLOB    NOT NULL,
    version        TEXT    NOT NULL,
    host           TEXT    NOT NULL,
    boot_id        TEXT    NOT NULL,
    heard_at_ms    INTEGER NOT NULL,
    devices        TEXT,                              -- JSON
    reported_at_ms INTEGER
) STRICT;
