-- What a plan promises, and from when on that counts: a plan that is resumed gets its time.
ALTER TABLE plans ADD COLUMN alarm TEXT NOT NULL DEFAULT '"calendar"'; -- JSON of web/api/src/plan.rs
ALTER TABLE plans ADD COLUMN alarm_from_ms INTEGER;                    -- NULL: since it was made

-- A machine of which nothing was heard for so long is an alert; 0: never.
ALTER TABLE agents ADD COLUMN silent_after_s INTEGER NOT NULL DEFAULT 86400;
