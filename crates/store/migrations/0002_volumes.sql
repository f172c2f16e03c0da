-- The cluster that has a project's workspace.
ALTER TABLE projects ADD COLUMN workspace TEXT;
-- The kinds of volumes that a job works with, as JSON.
ALTER TABLE jobs ADD COLUMN volumes TEXT NOT NULL DEFAULT '[]';
