-- Agents that keep their repository: they work beside it, with its own key.
ALTER TABLE agents ADD COLUMN keeps INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrolments ADD COLUMN keeps INTEGER NOT NULL DEFAULT 0;
-- Since when nothing of an agent is taken, because what it stored was not what it said.
ALTER TABLE agents ADD COLUMN suspended_at_ms INTEGER;

-- How a repository is looked after: web/api/src/keeping.rs, `Care`.
ALTER TABLE repositories ADD COLUMN care TEXT NOT NULL DEFAULT '{}';
ALTER TABLE repositories ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

-- Jobs of keepers belong to a repository and to no plan; their `work` is a `KeeperWork`.
ALTER TABLE jobs ADD COLUMN repository_id BLOB REFERENCES repositories (id);
ALTER TABLE jobs ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
-- Never two open jobs of one kind that nobody asked for.
CREATE UNIQUE INDEX jobs_of_care ON jobs (repository_id, kind)
    WHERE cause IN ('calendar', 'received') AND state IN ('queued', 'running');
CREATE INDEX jobs_of_repository ON jobs (repository_id, kind, ended_at_ms) WHERE repository_id IS NOT NULL;

-- Receipts become what is known of each recovery point. Those that were stored beside the server have no agent.
CREATE TABLE received (
    repository_id   BLOB    NOT NULL REFERENCES repositories (id),
    manifest        TEXT    NOT NULL,             -- 64 hexadecimal digits
    name_id         TEXT    NOT NULL,             -- 32 hexadecimal digits
    sequence        INTEGER NOT NULL,
    agent_id        BLOB,
    size_bytes      INTEGER NOT NULL,             -- of the manifest
    received_at_ms  INTEGER NOT NULL,
    verified_at_ms  INTEGER,                      -- when a keeper last found it whole
    proved_since_ms INTEGER,                      -- and how old the oldest proof of that was
    flaw            TEXT,                         -- what cannot be restored of it
    content         TEXT,                         -- JSON: `PointContent`, as a keeper read it
    suspect         INTEGER NOT NULL DEFAULT 0,
    forgotten_at_ms INTEGER,
    delete_after_ms INTEGER,
    gone_at_ms      INTEGER,
    survey          BLOB,                         -- the last look of a keeper that saw it
    PRIMARY KEY (repository_id, manifest)
) STRICT, WITHOUT ROWID;
INSERT INTO received (repository_id, manifest, name_id, sequence, agent_id, size_bytes, received_at_ms, verified_at_ms)
    SELECT repository_id, manifest, name_id, sequence, agent_id, size_bytes, received_at_ms, verified_at_ms FROM receipts;
DROP TABLE receipts;
ALTER TABLE received RENAME TO receipts;
CREATE INDEX receipts_by_name ON receipts (repository_id, name_id, sequence);
CREATE INDEX receipts_by_time ON receipts (received_at_ms, manifest);
CREATE INDEX receipts_of_agent ON receipts (agent_id);
CREATE INDEX receipts_unverified ON receipts (repository_id, received_at_ms) WHERE verified_at_ms IS NULL AND flaw IS NULL;
CREATE INDEX receipts_flawed ON receipts (repository_id) WHERE flaw IS NOT NULL;
