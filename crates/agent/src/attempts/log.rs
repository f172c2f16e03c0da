//! What the agent itself adds to an attempt's log, before its command starts and after it has ended.

use std::io;

use tombolo_runtime::blocking;

use crate::folder::AttemptFolder;
use crate::spool::Writer;
use crate::supervisor::SYSTEM_PREFIX;

/// Adds lines; returns how many the log has then.
pub(super) async fn note(folder: &AttemptFolder, texts: Vec<String>) -> io::Result<u64> {
    let folder = folder.clone();
    blocking::run(move || write(&folder, &texts)).await
}

/// The same, where the disk may be waited for.
pub(super) fn write(folder: &AttemptFolder, texts: &[String]) -> io::Result<u64> {
    let mut writer = Writer::open(&folder.log())?;
    let at = super::wall();
    for line in texts.iter().flat_map(|text| text.lines()) {
        writer.push(at, format!("{SYSTEM_PREFIX}{line}").as_bytes())?;
    }
    writer.flush()?;
    Ok(writer.lines())
}
