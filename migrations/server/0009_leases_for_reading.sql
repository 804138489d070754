-- Who opened a lease for reading. All persons sign theirs with the same key, so the repository cannot tell them apart. Rows of leases that
-- are gone are removed after a day.
CREATE TABLE reading_leases (
    lease         TEXT    NOT NULL PRIMARY KEY,     -- 32 hexadecimal digits
    user_id       BLOB    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    renewed_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
