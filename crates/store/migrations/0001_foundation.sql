-- Who leads. One row. A commit writes its epoch and sequence here, in its own transaction: a master that was replaced changes
-- no row and so writes nothing, and an outcome that got lost can be read back.
CREATE TABLE leadership (
    singleton INTEGER NOT NULL PRIMARY KEY CHECK (singleton = 1),
    epoch     BIGINT  NOT NULL,
    sequence  BIGINT  NOT NULL
);
INSERT INTO leadership (singleton, epoch, sequence) VALUES (1, 0, 0);

CREATE TABLE projects (
    id         BLOB   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    last_build BIGINT NOT NULL
);

CREATE TABLE clusters (
    name      TEXT   NOT NULL PRIMARY KEY,
    labels    TEXT   NOT NULL,
    key       BLOB   NOT NULL,
    joined_at BIGINT NOT NULL
);

-- Secrets of invites and tokens are here as digests only.
CREATE TABLE invites (
    id         BLOB   NOT NULL PRIMARY KEY,
    secret     BLOB   NOT NULL UNIQUE,
    cluster    TEXT   NOT NULL,
    labels     TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    used_by    BLOB
);

CREATE TABLE tokens (
    id         BLOB   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    secret     BLOB   NOT NULL UNIQUE,
    role       TEXT   NOT NULL,
    project    BLOB   REFERENCES projects (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX tokens_by_project ON tokens (project);

CREATE TABLE builds (
    id              BLOB    NOT NULL PRIMARY KEY,
    project         BLOB    NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    number          BIGINT  NOT NULL,
    state           TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    ended_at        BIGINT,
    submitted_by    TEXT    NOT NULL,
    source          BLOB,
    revision_branch TEXT,
    revision_commit TEXT,
    revision_tag    TEXT,
    restarts        INTEGER NOT NULL,
    UNIQUE (project, number)
);
-- A start reads what is not over, however much is.
CREATE INDEX builds_running ON builds (id) WHERE state = 'running';

-- What never changes of a job. The specification comes last: a start reads the other columns only.
CREATE TABLE jobs (
    id                   BLOB    NOT NULL PRIMARY KEY,
    build                BLOB    NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    position             INTEGER NOT NULL,
    name                 TEXT    NOT NULL,
    parents              TEXT    NOT NULL,
    selector             TEXT    NOT NULL,
    prefer               TEXT,
    cpu_milli            BIGINT  NOT NULL,
    memory_bytes         BIGINT  NOT NULL,
    timeout_milliseconds BIGINT  NOT NULL,
    spec                 TEXT    NOT NULL,
    UNIQUE (build, position)
);

-- What changes of a job: small rows, written at each step.
CREATE TABLE job_status (
    job              BLOB    NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    state            TEXT    NOT NULL,
    epoch            BIGINT  NOT NULL,
    cluster          TEXT,
    message          TEXT    NOT NULL,
    exit_code        INTEGER,
    queued_at        BIGINT,
    started_at       BIGINT,
    ended_at         BIGINT,
    cancel_requested INTEGER NOT NULL,
    output_manifest  BLOB,
    output_bytes     BIGINT,
    output_files     BIGINT,
    inputs           TEXT    NOT NULL,
    log_lines        BIGINT,
    replacements     BIGINT  NOT NULL
) WITHOUT ROWID;

-- Logs: consecutive lines compressed together. The first line and the number of lines are the index.
CREATE TABLE log_segments (
    job        BLOB   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch      BIGINT NOT NULL,
    first_line BIGINT NOT NULL,
    lines      BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    data       BLOB   NOT NULL,
    PRIMARY KEY (job, epoch, first_line)
);
