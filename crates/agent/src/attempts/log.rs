//! What the agent itself adds to an attempt's log, before its command starts and after it has ended.

use std::io;

use tombolo_runtime::blocking;

use crate::folder::AttemptFolder;
use crate::spool::{Reader, Writer};
use crate::supervisor::SYSTEM_PREFIX;

/// How much of a log is looked at, at once.
const READ_BYTES: usize = 64 * 1024;

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

/// Adds a line unless it is the last one already: whoever does this again after a crash adds nothing. Returns how many the log has then.
pub(super) fn conclude(folder: &AttemptFolder, line: &str) -> io::Result<u64> {
    let mut writer = Writer::open(&folder.log())?;
    let text = format!("{SYSTEM_PREFIX}{line}");
    if last_line(folder)?.as_deref() != Some(text.as_bytes()) {
        writer.push(super::wall(), text.as_bytes())?;
        writer.flush()?;
    }
    Ok(writer.lines())
}

/// How many whole lines the log has, as far as it can be read.
pub(super) fn length(folder: &AttemptFolder) -> u64 {
    let Ok(mut reader) = Reader::open(&folder.log()) else {
        return 0;
    };
    // Where it cannot be read any further, nobody is shown more of it.
    let _ = reader.seek(u64::MAX);
    reader.next_line()
}

fn last_line(folder: &AttemptFolder) -> io::Result<Option<Vec<u8>>> {
    let mut reader = Reader::open(&folder.log())?;
    let mut last = None;
    loop {
        let lines = reader.read(READ_BYTES)?;
        match lines.into_iter().last() {
            Some(line) => last = Some(line.text),
            None => return Ok(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_concluded_once_and_measured_also_where_nothing_can_be_added() {
        let root = tempfile::tempdir().unwrap();
        let folder = AttemptFolder::new(root.path().to_owned());
        assert_eq!(length(&folder), 0);
        assert_eq!(write(&folder, &["a".to_owned(), "b".to_owned()]).unwrap(), 2);
        for _ in 0..3 {
            assert_eq!(conclude(&folder, "lost").unwrap(), 3);
        }
        assert_eq!(length(&folder), 3);
        // As a machine that dies leaves it: a line that is not whole.
        let mut bytes = std::fs::read(folder.log()).unwrap();
        bytes.truncate(bytes.len() - 1);
        std::fs::write(folder.log(), &bytes).unwrap();
        assert_eq!(length(&folder), 2);
        assert_eq!(conclude(&folder, "lost").unwrap(), 3);
    }
}
