-- What became of an output that was lost after its job had ended, as JSON; nothing if none was.
ALTER TABLE job_status ADD COLUMN loss TEXT;
-- Whether the output cannot be had, as the loss says: nobody has to keep it then.
ALTER TABLE job_status ADD COLUMN output_lost INTEGER NOT NULL DEFAULT 0;
