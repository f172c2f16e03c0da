-- Whether a job asks for a cache.
ALTER TABLE jobs ADD COLUMN cache INTEGER NOT NULL DEFAULT 0;

-- The records of caches. The branch is empty for builds that name none.
CREATE TABLE caches (
    project  BLOB   NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    job      TEXT   NOT NULL,
    branch   TEXT   NOT NULL,
    cluster  TEXT   NOT NULL,
    manifest BLOB   NOT NULL,
    bytes    BIGINT NOT NULL,
    files    BIGINT NOT NULL,
    build    BIGINT NOT NULL,
    saved_at BIGINT NOT NULL,
    used_at  BIGINT NOT NULL,
    PRIMARY KEY (project, job, branch, cluster)
);
-- Clusters ask which manifests are still wanted.
CREATE INDEX caches_by_manifest ON caches (project, manifest);
