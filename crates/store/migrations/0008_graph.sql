-- Whether a cluster runs the job at all: `run`, `wait` or `workflow`.
ALTER TABLE jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'run';
-- What its executor must be able to do, as a list of names in JSON.
ALTER TABLE jobs ADD COLUMN needs TEXT NOT NULL DEFAULT '[]';
-- The position of the job that made it while the build ran; nothing for what was submitted.
ALTER TABLE jobs ADD COLUMN generated_by INTEGER;
