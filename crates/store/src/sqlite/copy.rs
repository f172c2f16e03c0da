//! A copy of the database as of one moment, while it is being written to.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::{error, open};
use crate::port::Error;

/// How many pages of 4 KiB are copied at a time.
const PAGES_AT_ONCE: i32 = 512;

/// Between two of these: whoever writes wants the disk, too.
const PAUSE: Duration = Duration::from_millis(1);

/// Copies the database at `from` to a new file at `to`, for as long as `goes_on` says so.
pub(super) fn copy(from: &Path, to: &Path, goes_on: impl FnMut() -> bool) -> Result<(), Error> {
    let source = open::reader(from).map_err(error::read)?;
    // One moment for all pages: what is committed meanwhile goes into the write-ahead log, which grows until this is over.
    let moment = source.unchecked_transaction().map_err(error::read)?;
    super::read::leadership(&moment).map_err(error::read)?;
    let mut target = Connection::open(to).map_err(error::read)?;
    // A copy that is broken off is thrown away.
    target
        .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        .map_err(error::read)?;
    pages(&moment, &mut target, goes_on)
}

fn pages(source: &Connection, target: &mut Connection, mut goes_on: impl FnMut() -> bool) -> Result<(), Error> {
    let backup = Backup::new(source, target).map_err(error::read)?;
    while goes_on() {
        match backup.step(PAGES_AT_ONCE).map_err(error::read)? {
            StepResult::Done => return Ok(()),
            _ => std::thread::sleep(PAUSE),
        }
    }
    Err(Error::Unavailable("the copy was broken off".to_owned()))
}
