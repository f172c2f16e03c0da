-- When this database was taken from a backup, in milliseconds since 1970; nothing if it never was.
ALTER TABLE leadership ADD COLUMN restored_at BIGINT;
-- Whether a cluster's agent was granted a handover lease that may not be over.
ALTER TABLE clusters ADD COLUMN is_handing_over INTEGER NOT NULL DEFAULT 0;
