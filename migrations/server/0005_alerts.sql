-- What somebody has to look at. Of each cause one at a time.
CREATE TABLE alerts (
    id            BLOB    NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,               -- job_failed, server
    subject       TEXT    NOT NULL,
    what          TEXT    NOT NULL,
    next          TEXT,
    raised_at_ms  INTEGER NOT NULL,
    cleared_at_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX alerts_that_last ON alerts (kind, subject) WHERE cleared_at_ms IS NULL;

-- Where alerts are told. The secret has to be readable: it logs in at the mail server, or signs.
CREATE TABLE alert_channels (
    id              BLOB    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL UNIQUE,
    enabled         INTEGER NOT NULL,
    kinds           TEXT    NOT NULL,             -- names with a space between; empty: all
    target          TEXT    NOT NULL,             -- JSON as in the API
    secret          TEXT,
    created_at_ms   INTEGER NOT NULL,
    last_sent_at_ms INTEGER,
    last_error      TEXT,                         -- NULL after a success
    attempts        INTEGER NOT NULL DEFAULT 0,   -- that failed since the last success
    tried_at_ms     INTEGER,                      -- last attempt, trials included
    revision        INTEGER NOT NULL DEFAULT 1
) STRICT;

-- What is still to be told where: as the alert is by then.
CREATE TABLE alert_outbox (
    channel_id   BLOB    NOT NULL REFERENCES alert_channels (id) ON DELETE CASCADE,
    alert_id     BLOB    NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    queued_at_ms INTEGER NOT NULL,
    PRIMARY KEY (channel_id, alert_id)
) STRICT, WITHOUT ROWID;
