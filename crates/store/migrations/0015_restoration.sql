-- When this database was taken from a backup, in milliseconds since 1970; nothing if it never was.
ALTER TABLE leadership ADD COLUMN restored_at BIGINT;
