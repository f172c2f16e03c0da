//! That the database was taken from a backup.

use tombolo_core::restoration::Restoration;
use tombolo_core::time::Timestamp;

use super::connection::Connection;
use super::{error, read as reading};
use crate::port::{BUILDS_SINCE_BACKUP, Error, LEADERSHIPS_SINCE_BACKUP};

/// A second one is later than the first, whatever the clock says.
const NOTE: &str = "UPDATE leadership SET epoch = epoch + $1, sequence = 0, restored_at = GREATEST($2, COALESCE(restored_at + 1000, 0))";

/// In a transaction of its own, over the session that leads.
pub(super) async fn note(connection: &Connection, restoration: Restoration) -> Result<(), Error> {
    let client = connection.client();
    let written = async {
        client.batch_execute("BEGIN").await?;
        let at = restoration.at.0.cast_signed();
        client
            .execute(NOTE, &[&i64::from(LEADERSHIPS_SINCE_BACKUP), &at])
            .await?;
        let builds = "UPDATE projects SET last_build = last_build + $1";
        client.execute(builds, &[&i64::from(BUILDS_SINCE_BACKUP)]).await?;
        client.batch_execute("DELETE FROM invites; COMMIT").await
    };
    written.await.map_err(error::read)
}

pub(super) async fn read(connection: &Connection) -> Result<Option<Restoration>, Error> {
    let sql = "SELECT restored_at FROM leadership";
    let found = reading::all(connection, sql, &[], |columns| columns.optional_number()).await?;
    let at = found.into_iter().next().flatten().map(Timestamp);
    Ok(at.map(|at| Restoration { at }))
}
