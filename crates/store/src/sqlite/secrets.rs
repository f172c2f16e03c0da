//! Values that projects keep secret, as they were sealed.

use rusqlite::{Connection, OptionalExtension, params};
use tombolo_core::id::ProjectId;
use tombolo_core::name::SecretName;
use tombolo_core::secret::{SealedSecret, SealedValue, Secret};

use super::write::time;

pub(super) fn put(connection: &Connection, sealed: &SealedSecret) -> rusqlite::Result<usize> {
    let SealedSecret {
        secret: Secret {
            project,
            name,
            updated_at,
        },
        value,
    } = sealed;
    let mut statement = connection.prepare_cached(
        "INSERT INTO secrets (project, name, updated_at, sealed_by, sealed) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (project, name) DO UPDATE SET updated_at = excluded.updated_at, sealed_by = excluded.sealed_by, \
         sealed = excluded.sealed",
    )?;
    statement.execute(params![
        project.uuid().as_bytes(),
        name.as_str(),
        time(*updated_at),
        value.key,
        value.bytes
    ])
}

pub(super) fn delete(connection: &Connection, project: ProjectId, name: &SecretName) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare_cached("DELETE FROM secrets WHERE project = ?1 AND name = ?2")?;
    statement.execute(params![project.uuid().as_bytes(), name.as_str()])
}

pub(super) fn sealed(
    connection: &Connection,
    project: ProjectId,
    names: &[SecretName],
) -> rusqlite::Result<Vec<(SecretName, SealedValue)>> {
    let mut statement =
        connection.prepare_cached("SELECT sealed_by, sealed FROM secrets WHERE project = ?1 AND name = ?2")?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let value = statement.query_row(params![project.uuid().as_bytes(), name.as_str()], |row| {
            Ok(SealedValue {
                key: row.get(0)?,
                bytes: row.get(1)?,
            })
        });
        found.extend(value.optional()?.map(|value| (name.clone(), value)));
    }
    Ok(found)
}

pub(super) fn keys(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT DISTINCT sealed_by FROM secrets ORDER BY sealed_by")?;
    let keys = statement.query_map([], |row| row.get(0))?;
    keys.collect()
}
