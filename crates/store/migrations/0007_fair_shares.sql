-- What a project may have of the clusters, as JSON; one of the usual weight without limits if there is nothing.
ALTER TABLE projects ADD COLUMN share TEXT;
-- Among the jobs of its project, those of higher priority come first.
ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
