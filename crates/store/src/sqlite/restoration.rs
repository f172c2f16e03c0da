//! That the file was taken from a backup.

use rusqlite::{Connection, TransactionBehavior};
use tombolo_core::restoration::Restoration;

use super::row::Columns;
use super::write::time;
use crate::port::{BUILDS_SINCE_BACKUP, LEADERSHIPS_SINCE_BACKUP};

/// A second one is later than the first, whatever the clock says.
const NOTE: &str =
    "UPDATE leadership SET epoch = epoch + ?1, sequence = 0, restored_at = MAX(?2, COALESCE(restored_at + 1000, 0))";

pub(super) fn note(connection: &mut Connection, restoration: Restoration) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(NOTE, (LEADERSHIPS_SINCE_BACKUP, time(restoration.at)))?;
    transaction.execute(
        "UPDATE projects SET last_build = last_build + ?1",
        [BUILDS_SINCE_BACKUP],
    )?;
    transaction.execute("DELETE FROM invites", [])?;
    transaction.commit()
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Restoration>> {
    let mut statement = connection.prepare_cached("SELECT restored_at FROM leadership")?;
    statement.query_row([], |row| {
        let at = Columns::new(row).optional_time()?;
        Ok(at.map(|at| Restoration { at }))
    })
}
