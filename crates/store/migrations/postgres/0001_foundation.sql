-- Who leads. One row. A commit writes its epoch and sequence here, in its own transaction: a master that was replaced changes
-- no row and so writes nothing, and an outcome that got lost can be read back.
CREATE TABLE leadership (
    singleton INTEGER NOT NULL PRIMARY KEY CHECK (singleton = 1),
    epoch     BIGINT  NOT NULL,
    sequence  BIGINT  NOT NULL
);
INSERT INTO leadership (singleton, epoch, sequence) VALUES (1, 0, 0);

CREATE TABLE projects (
    id         UUID   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    last_build BIGINT NOT NULL,
    -- The cluster that has the project's workspace.
    workspace  TEXT,
    -- What the project keeps, as JSON; the installation's default if there is nothing.
    retention  TEXT,
    -- What the project may have of the clusters, as JSON.
    share      TEXT   NOT NULL
);

CREATE TABLE clusters (
    name         TEXT   NOT NULL PRIMARY KEY,
    labels       TEXT   NOT NULL,
    key          BYTEA  NOT NULL,
    joined_at    BIGINT NOT NULL,
    -- Which jobs it takes: `open`, `cordoned`, `draining` or `disabled`.
    availability TEXT   NOT NULL
);

-- Secrets of invites and tokens are here as digests only.
CREATE TABLE invites (
    id         UUID   NOT NULL PRIMARY KEY,
    secret     BYTEA  NOT NULL UNIQUE,
    cluster    TEXT   NOT NULL,
    labels     TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    used_by    BYTEA
);

CREATE TABLE tokens (
    id         UUID   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    secret     BYTEA  NOT NULL UNIQUE,
    role       TEXT   NOT NULL,
    project    UUID   REFERENCES projects (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT
);
CREATE INDEX tokens_by_project ON tokens (project);

-- The records of caches. The branch is empty for builds that name none.
CREATE TABLE caches (
    project  UUID   NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    job      TEXT   NOT NULL,
    branch   TEXT   NOT NULL,
    cluster  TEXT   NOT NULL,
    manifest BYTEA  NOT NULL,
    bytes    BIGINT NOT NULL,
    files    BIGINT NOT NULL,
    build    BIGINT NOT NULL,
    saved_at BIGINT NOT NULL,
    used_at  BIGINT NOT NULL,
    PRIMARY KEY (project, job, branch, cluster)
);
-- Clusters ask which manifests are still wanted.
CREATE INDEX caches_by_manifest ON caches (project, manifest);

CREATE TABLE builds (
    id              UUID   NOT NULL PRIMARY KEY,
    project         UUID   NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    number          BIGINT NOT NULL,
    state           TEXT   NOT NULL,
    created_at      BIGINT NOT NULL,
    ended_at        BIGINT,
    submitted_by    TEXT   NOT NULL,
    source          BYTEA,
    revision_branch TEXT,
    revision_commit TEXT,
    revision_tag    TEXT,
    restarts        BIGINT NOT NULL,
    -- When the outputs of the build were given up.
    released_at     BIGINT,
    UNIQUE (project, number)
);
-- A start reads what is not over, however much is.
CREATE INDEX builds_running ON builds (id) WHERE state = 'running';
-- Which outputs are still wanted is asked by their manifests, and by the builds whose outputs are not given up.
CREATE INDEX builds_kept ON builds (project, number) WHERE released_at IS NULL;
CREATE INDEX builds_by_source ON builds (project, source) WHERE source IS NOT NULL AND released_at IS NULL;

-- What never changes of a job.
CREATE TABLE jobs (
    id                   UUID    NOT NULL PRIMARY KEY,
    build                UUID    NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    position             BIGINT  NOT NULL,
    name                 TEXT    NOT NULL,
    parents              TEXT    NOT NULL,
    selector             TEXT    NOT NULL,
    prefer               TEXT,
    cpu_milli            BIGINT  NOT NULL,
    memory_bytes         BIGINT  NOT NULL,
    timeout_milliseconds BIGINT  NOT NULL,
    spec                 TEXT    NOT NULL,
    -- The kinds of volumes that the job works with, as JSON.
    volumes              TEXT    NOT NULL,
    -- Whether the job asks for a cache.
    cache                BOOLEAN NOT NULL,
    -- Among the jobs of its project, those of higher priority come first.
    priority             INTEGER NOT NULL,
    -- Whether a cluster runs the job at all: `run`, `wait` or `workflow`.
    kind                 TEXT    NOT NULL,
    -- What its executor must be able to do, as a list of names in JSON.
    needs                TEXT    NOT NULL,
    -- The position of the job that made it while the build ran.
    generated_by         BIGINT,
    UNIQUE (build, position)
);

-- What changes of a job: small rows, written at each step. The room left on each page takes the next version of a row, which
-- then needs no new entries in the indexes.
CREATE TABLE job_status (
    job              UUID    NOT NULL PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    state            TEXT    NOT NULL,
    epoch            BIGINT  NOT NULL,
    cluster          TEXT,
    message          TEXT    NOT NULL,
    exit_code        INTEGER,
    queued_at        BIGINT,
    started_at       BIGINT,
    ended_at         BIGINT,
    cancel_requested BOOLEAN NOT NULL,
    output_manifest  BYTEA,
    output_bytes     BIGINT,
    output_files     BIGINT,
    inputs           TEXT    NOT NULL,
    log_lines        BIGINT,
    replacements     BIGINT  NOT NULL,
    -- What became of an output that was lost after its job had ended, as JSON; nothing if none was.
    loss             TEXT,
    -- Whether the output cannot be had, as the loss says: nobody has to keep it then.
    output_lost      BOOLEAN NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX job_outputs ON job_status (output_manifest) WHERE output_manifest IS NOT NULL;

-- Logs: consecutive lines compressed together. The first line and the number of lines are the index.
CREATE TABLE log_segments (
    job        UUID   NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    epoch      BIGINT NOT NULL,
    first_line BIGINT NOT NULL,
    lines      BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    data       BYTEA  NOT NULL,
    PRIMARY KEY (job, epoch, first_line)
);
-- They are compressed already.
ALTER TABLE log_segments ALTER COLUMN data SET STORAGE EXTERNAL;
