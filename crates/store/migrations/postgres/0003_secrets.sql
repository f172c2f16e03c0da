-- Values that projects keep secret, encrypted. `sealed_by` names the key, which is not here.
CREATE TABLE secrets (
    project    UUID   NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name       TEXT   NOT NULL,
    updated_at BIGINT NOT NULL,
    sealed_by  TEXT   NOT NULL,
    sealed     BYTEA  NOT NULL,
    PRIMARY KEY (project, name)
);
