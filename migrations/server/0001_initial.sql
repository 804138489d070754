-- The server's database. Ids are UUIDs of 16 bytes, times are milliseconds since 1970, secrets are kept as hashes only.

-- People's accounts with what they log in with.
CREATE TABLE users (
    id                BLOB    NOT NULL PRIMARY KEY,
    name              TEXT    NOT NULL UNIQUE,
    role              TEXT    NOT NULL,           -- viewer, operator, restorer, admin
    disabled          INTEGER NOT NULL DEFAULT 0,
    created_at_ms     INTEGER NOT NULL,
    last_log_in_at_ms INTEGER,
    revision          INTEGER NOT NULL DEFAULT 1,
    password          TEXT,                       -- argon2id as a PHC string; NULL until the person set one
    totp_secret       BLOB,                       -- 20 bytes; has to be readable to compare codes
    totp_offered      BLOB,                       -- 20 bytes, until a first code confirms it
    totp_last_step    INTEGER NOT NULL DEFAULT 0  -- of the last code that was accepted; older ones are not again
) STRICT;

-- For the day the authenticator is lost. Used ones are deleted.
CREATE TABLE recovery_codes (
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash    BLOB NOT NULL,
    PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

-- Log-ins by browser. When they end follows from the settings.
CREATE TABLE sessions (
    id              BLOB    NOT NULL PRIMARY KEY,
    secret_hash     BLOB    NOT NULL UNIQUE,
    user_id         BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at_ms   INTEGER NOT NULL,
    last_seen_at_ms INTEGER NOT NULL,
    address         TEXT    NOT NULL,
    user_agent      TEXT    NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, id);

-- What scripts log in with.
CREATE TABLE tokens (
    id              BLOB    NOT NULL PRIMARY KEY,
    secret_hash     BLOB    NOT NULL UNIQUE,
    user_id         BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name            TEXT    NOT NULL,
    prefix          TEXT    NOT NULL,             -- first characters of the secret
    rights          TEXT    NOT NULL,             -- names with a space between
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,
    last_used_at_ms INTEGER
) STRICT;
CREATE INDEX tokens_by_user ON tokens (user_id, id);

-- One-time links by which a person sets a password. Used ones are deleted.
CREATE TABLE log_in_links (
    id            BLOB    NOT NULL PRIMARY KEY,
    secret_hash   BLOB    NOT NULL UNIQUE,
    user_id       BLOB    REFERENCES users (id) ON DELETE CASCADE, -- NULL makes the first account, an admin
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL
) STRICT;

-- What an admin can change while the server runs: one row.
CREATE TABLE settings (
    id                     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    appliance_name         TEXT    NOT NULL,
    session_idle_s         INTEGER NOT NULL,
    session_lifetime_s     INTEGER NOT NULL,
    log_in_link_lifetime_s INTEGER NOT NULL,
    revision               INTEGER NOT NULL
) STRICT;
INSERT INTO settings VALUES (1, 'Icecore', 43200, 2592000, 86400, 1);

-- Who did what. Each entry's hash covers the one before (web/src/audit.rs).
CREATE TABLE audit (
    number        INTEGER NOT NULL PRIMARY KEY,
    at_ms         INTEGER NOT NULL,
    actor         TEXT    NOT NULL,
    address       TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    subject       TEXT    NOT NULL,
    outcome       TEXT    NOT NULL,               -- done, refused
    detail        TEXT    NOT NULL,
    previous_hash BLOB    NOT NULL,               -- 32 bytes; zeroes in the first entry
    hash          BLOB    NOT NULL                -- 32 bytes
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
-- Also refuses INSERT OR REPLACE, which deletes without asking the trigger above.
CREATE TRIGGER audit_only_grows BEFORE INSERT ON audit
WHEN NEW.number <> (SELECT COALESCE(MAX(number), 0) + 1 FROM audit) BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- The last events, for clients that come back. Numbers are never used again.
CREATE TABLE events (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms   INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL
) STRICT;

-- Answers to requests that make something, by the key that the client chose; kept for a day.
CREATE TABLE idempotency (
    caller        TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    request_hash  BLOB    NOT NULL,
    body          TEXT    NOT NULL,               -- without secrets
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_by_age ON idempotency (created_at_ms);
