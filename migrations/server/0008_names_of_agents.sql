-- A revoked agent's name is free again: a machine that was set up anew is called as before. The rule stood on the column, so the table is
-- made anew; foreign keys are off meanwhile and are looked at afterwards (web/src/db/open.rs).
CREATE TABLE agents_anew (
    id                BLOB    NOT NULL PRIMARY KEY,
    secret_hash       BLOB    NOT NULL UNIQUE,
    name              TEXT    NOT NULL,
    repository_id     BLOB    NOT NULL REFERENCES repositories (id),
    writer            TEXT    NOT NULL,             -- 32 hexadecimal digits
    prefix            TEXT    NOT NULL,             -- first characters of the secret
    created_at_ms     INTEGER NOT NULL,
    last_seen_at_ms   INTEGER,
    revoked_at_ms     INTEGER,
    next_secret_hash  BLOB,                         -- shall replace the other: both work until this one was used once
    next_prefix       TEXT,
    limit_bytes_per_s INTEGER,                      -- NULL: as fast as it goes
    quota_bytes       INTEGER,                      -- NULL: as much as there is
    revision          INTEGER NOT NULL DEFAULT 1,
    keeps             INTEGER NOT NULL DEFAULT 0,
    suspended_at_ms   INTEGER
) STRICT;
INSERT INTO agents_anew (id, secret_hash, name, repository_id, writer, prefix, created_at_ms, last_seen_at_ms, revoked_at_ms,
    next_secret_hash, next_prefix, limit_bytes_per_s, quota_bytes, revision, keeps, suspended_at_ms)
SELECT id, secret_hash, name, repository_id, writer, prefix, created_at_ms, last_seen_at_ms, revoked_at_ms,
    next_secret_hash, next_prefix, limit_bytes_per_s, quota_bytes, revision, keeps, suspended_at_ms FROM agents;
DROP TABLE agents;
ALTER TABLE agents_anew RENAME TO agents;
CREATE INDEX agents_by_repository ON agents (repository_id, id);
CREATE UNIQUE INDEX agents_by_next_secret ON agents (next_secret_hash);
CREATE UNIQUE INDEX agents_by_name ON agents (name) WHERE revoked_at_ms IS NULL;
