//! What triggers submit.

use tombolo_core::id::ProjectId;
use tombolo_core::name::TriggerName;
use tombolo_core::trigger::TriggerFile;

use super::connection::Connection;
use super::read::{Parameter, all};
use crate::port::Error;

pub(super) async fn file(
    connection: &Connection,
    project: ProjectId,
    name: &TriggerName,
) -> Result<Option<TriggerFile>, Error> {
    let sql = "SELECT file FROM trigger_files WHERE project = $1 AND name = $2";
    let parameters: [Parameter<'_>; 2] = [&project.uuid(), &name.as_str()];
    let found = all(connection, sql, &parameters, |columns| columns.json());
    Ok(found.await?.into_iter().next())
}
