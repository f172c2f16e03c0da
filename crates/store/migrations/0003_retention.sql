-- What a project keeps, as JSON; the installation's default if there is nothing.
ALTER TABLE projects ADD COLUMN retention TEXT;
-- When the outputs of a build were given up.
ALTER TABLE builds ADD COLUMN released_at BIGINT;
-- Which outputs are still wanted is asked by their manifests, and by the builds whose outputs are not given up.
CREATE INDEX builds_kept ON builds (project, number) WHERE released_at IS NULL;
CREATE INDEX builds_by_source ON builds (project, source) WHERE source IS NOT NULL AND released_at IS NULL;
CREATE INDEX job_outputs ON job_status (output_manifest) WHERE output_manifest IS NOT NULL;
