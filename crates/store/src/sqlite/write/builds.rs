//! Builds.

use rusqlite::{CachedStatement, Connection, params};
use tombolo_core::control::record::Build;

use super::super::error;
use super::{digest, time};
use crate::port::CommitError;

pub(super) fn insert(connection: &Connection, build: &Build) -> Result<(), CommitError> {
    connection
        .prepare_cached(
            "INSERT INTO builds (id, project, number, state, created_at, ended_at, submitted_by, source, \
             revision_branch, revision_commit, revision_tag, restarts, released_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )
        .and_then(|mut statement| bind(&mut statement, build))
        .map_err(error::statement)?;
    Ok(())
}

pub(super) fn update(connection: &Connection, build: &Build) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "UPDATE builds SET project = ?2, number = ?3, state = ?4, created_at = ?5, ended_at = ?6, submitted_by = ?7, \
         source = ?8, revision_branch = ?9, revision_commit = ?10, revision_tag = ?11, restarts = ?12, released_at = ?13 \
         WHERE id = ?1",
    )?;
    bind(&mut statement, build)
}

fn bind(statement: &mut CachedStatement<'_>, build: &Build) -> rusqlite::Result<usize> {
    let Build {
        id,
        project,
        number,
        state,
        created_at,
        ended_at,
        submitted_by,
        source,
        revision,
        restarts,
        released_at,
    } = build;
    statement.execute(params![
        id.uuid().as_bytes(),
        project.uuid().as_bytes(),
        number.cast_signed(),
        state.as_str(),
        time(*created_at),
        ended_at.map(time),
        submitted_by,
        digest(source.as_ref()),
        revision.branch,
        revision.commit,
        revision.tag,
        restarts,
        released_at.map(time)
    ])
}
