-- Which jobs ended on a day, for the picture of the last month.
CREATE INDEX jobs_by_end ON jobs (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

-- Who said that the recovery kit is in a safe place, having read it.
ALTER TABLE repositories ADD COLUMN kit_confirmed_at_ms INTEGER;
ALTER TABLE repositories ADD COLUMN kit_confirmed_by TEXT;
