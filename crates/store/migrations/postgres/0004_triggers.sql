-- Triggers of projects: what changes when they fire is in JSON; the source is kept for as long as the trigger is there.
CREATE TABLE triggers (
    project UUID NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    source  BYTEA,
    record  TEXT NOT NULL,
    PRIMARY KEY (project, name)
);
CREATE INDEX triggers_by_source ON triggers (project, source);
-- What they submit: a job file, as JSON with its name.
CREATE TABLE trigger_files (
    project UUID NOT NULL,
    name    TEXT NOT NULL,
    file    TEXT NOT NULL,
    PRIMARY KEY (project, name),
    FOREIGN KEY (project, name) REFERENCES triggers (project, name) ON DELETE CASCADE
);
