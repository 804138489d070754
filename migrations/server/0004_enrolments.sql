-- A secret that shall replace another: both work until the new one was used once.
ALTER TABLE tokens ADD COLUMN next_secret_hash BLOB;
ALTER TABLE tokens ADD COLUMN next_prefix TEXT;
CREATE UNIQUE INDEX tokens_by_next_secret ON tokens (next_secret_hash);
ALTER TABLE agents ADD COLUMN next_secret_hash BLOB;
ALTER TABLE agents ADD COLUMN next_prefix TEXT;
CREATE UNIQUE INDEX agents_by_next_secret ON agents (next_secret_hash);

-- What an agent may at most; NULL: as much as there is.
ALTER TABLE agents ADD COLUMN limit_bytes_per_s INTEGER;
ALTER TABLE agents ADD COLUMN quota_bytes INTEGER;
ALTER TABLE agents ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

-- One-time tokens by which machines become agents.
CREATE TABLE enrolments (
    id                  BLOB    NOT NULL PRIMARY KEY,
    secret_hash         BLOB    NOT NULL UNIQUE,
    prefix              TEXT    NOT NULL,             -- first characters of the token
    repository_id       BLOB    NOT NULL REFERENCES repositories (id),
    name                TEXT,                         -- of the machine; NULL until it says it
    created_by          TEXT    NOT NULL,
    created_at_ms       INTEGER NOT NULL,
    expires_at_ms       INTEGER NOT NULL,
    revoked_at_ms       INTEGER,
    machine_secret_hash BLOB,                         -- of the machine that came first; no other gets an answer
    machine_prefix      TEXT,
    public_key          TEXT,                         -- 64 hexadecimal digits, where the machine wants a writer key
    sealed_writer_key   TEXT,                         -- sealed to it; the server cannot open it
    agent_id            BLOB REFERENCES agents (id)
) STRICT;
