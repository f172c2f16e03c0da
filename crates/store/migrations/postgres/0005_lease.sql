-- Which of several masters leads. One row. The leader counts `renewals` up; the others watch whether it changes, and follow the leader
-- when it has not for longer than its lease. No transaction of the leader's work touches this row, so that no renewal waits for one.
CREATE TABLE lease (
    singleton          INTEGER NOT NULL PRIMARY KEY CHECK (singleton = 1),
    -- Counts the leaders.
    term               BIGINT  NOT NULL,
    renewals           BIGINT  NOT NULL,
    -- How long after a renewal the leader may act; 0 if it renews nothing and has the lock instead.
    lease_milliseconds BIGINT  NOT NULL,
    -- Whether the leader has said that it acts no more.
    is_released        BOOLEAN NOT NULL,
    -- The process, as in the names of its sessions.
    holder             TEXT    NOT NULL,
    -- Where the other masters reach its ports for agents and for users, `host:port`; empty if it did not say.
    agents_address     TEXT    NOT NULL,
    users_address      TEXT    NOT NULL,
    -- For people. Nothing depends on it.
    renewed_at         TIMESTAMPTZ NOT NULL,
    -- The installation that the database belongs to: the pin of its certificate authority. Empty before the first leader.
    installation       TEXT    NOT NULL
) WITH (fillfactor = 10);
INSERT INTO lease VALUES (1, 0, 0, 0, TRUE, '', '', '', now(), '');
