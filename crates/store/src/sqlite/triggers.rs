//! Triggers, and what they submit.

use rusqlite::{Connection, OptionalExtension, params};
use tombolo_core::id::ProjectId;
use tombolo_core::name::TriggerName;
use tombolo_core::trigger::{Trigger, TriggerFile};

use super::write::{digest, json};

pub(super) fn put(connection: &Connection, trigger: &Trigger) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO triggers (project, name, source, record) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (project, name) DO UPDATE SET source = excluded.source, record = excluded.record",
    )?;
    statement.execute(params![
        trigger.project.uuid().as_bytes(),
        trigger.name.as_str(),
        digest(trigger.source.as_ref()),
        json(trigger)
    ])
}

pub(super) fn put_file(
    connection: &Connection,
    project: ProjectId,
    name: &TriggerName,
    file: &TriggerFile,
) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO trigger_files (project, name, file) VALUES (?1, ?2, ?3) \
         ON CONFLICT (project, name) DO UPDATE SET file = excluded.file",
    )?;
    statement.execute(params![project.uuid().as_bytes(), name.as_str(), json(file)])
}

pub(super) fn delete(connection: &Connection, project: ProjectId, name: &TriggerName) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached("DELETE FROM triggers WHERE project = ?1 AND name = ?2")?;
    statement.execute(params![project.uuid().as_bytes(), name.as_str()])
}

pub(super) fn file(
    connection: &Connection,
    project: ProjectId,
    name: &TriggerName,
) -> rusqlite::Result<Option<TriggerFile>> {
    let mut statement = connection.prepare_cached("SELECT file FROM trigger_files WHERE project = ?1 AND name = ?2")?;
    let text: Option<String> = statement
        .query_row(params![project.uuid().as_bytes(), name.as_str()], |row| row.get(0))
        .optional()?;
    let parsed = text.map(|text| {
        serde_json::from_str(&text)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error)))
    });
    parsed.transpose()
}
