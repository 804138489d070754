-- Repositories that this server keeps for agents. What is in them is theirs; here is only where they are.
CREATE TABLE repositories (
    id            BLOB    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    directory     TEXT    NOT NULL UNIQUE,
    format_id     TEXT    NOT NULL UNIQUE,        -- the id inside the repository
    created_at_ms INTEGER NOT NULL
) STRICT;

-- Machines that store into one of them, each in the name of one writer.
CREATE TABLE agents (
    id              BLOB    NOT NULL PRIMARY KEY,
    secret_hash     BLOB    NOT NULL UNIQUE,
    name            TEXT    NOT NULL UNIQUE,
    repository_id   BLOB    NOT NULL REFERENCES repositories (id),
    writer          TEXT    NOT NULL,             -- 32 hexadecimal digits
    prefix          TEXT    NOT NULL,             -- first characters of the secret
    created_at_ms   INTEGER NOT NULL,
    last_seen_at_ms INTEGER,
    revoked_at_ms   INTEGER
) STRICT;
CREATE INDEX agents_by_repository ON agents (repository_id, id);

-- When a recovery point came in, by this server's clock: retention goes by that.
CREATE TABLE receipts (
    repository_id  BLOB    NOT NULL REFERENCES repositories (id),
    manifest       TEXT    NOT NULL,              -- 64 hexadecimal digits
    name_id        TEXT    NOT NULL,              -- 32 hexadecimal digits
    sequence       INTEGER NOT NULL,
    agent_id       BLOB    NOT NULL,
    size_bytes     INTEGER NOT NULL,
    received_at_ms INTEGER NOT NULL,
    PRIMARY KEY (repository_id, manifest)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipts_by_name ON receipts (repository_id, name_id, sequence);
