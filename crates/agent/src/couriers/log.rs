//! The lines of a pod, appended to the attempt's log after the agent's own.

use std::io;

use serde::{Deserialize, Serialize};
use tombolo_core::time::Timestamp;

use crate::folder::{AttemptFolder, Durability, read_record, write_record};
use crate::spool::Writer;

/// `pod.json`: where the pod's lines begin.
#[derive(Debug, Serialize, Deserialize)]
struct Beginning {
    lines: u64,
}

/// The pod itself keeps to the limit of its log. This much more is for what the agent writes, and for the tail.
const SLACK_BYTES: u64 = 4 * 1024 * 1024;

/// Takes the lines of one pod.
pub(super) struct PodLog {
    writer: Writer,
    beginning: u64,
    limit_bytes: u64,
}

impl PodLog {
    /// Opens the log; what a pod has written before is counted.
    pub(super) fn open(folder: &AttemptFolder, limit_bytes: u64) -> io::Result<Self> {
        let writer = Writer::open(&folder.log())?;
        let recorded = read_record::<Beginning>(&folder.pod())?.map(|recorded| recorded.lines);
        // After a crash between the record and the agent's own words, the record says too much: no line of a pod is there then.
        let beginning = recorded.map_or(writer.lines(), |lines| lines.min(writer.lines()));
        if recorded != Some(beginning) {
            write_record(&folder.pod(), &Beginning { lines: beginning }, Durability::Fast)?;
        }
        Ok(Self {
            writer,
            beginning,
            limit_bytes: limit_bytes.saturating_add(SLACK_BYTES),
        })
    }

    /// Adds lines of the agent's own, as long as the pod has written none; else nothing happens.
    pub(super) fn note(&mut self, folder: &AttemptFolder, at: Timestamp, lines: &[Vec<u8>]) -> io::Result<()> {
        if self.next_line() > 0 {
            return Ok(());
        }
        let beginning = self.writer.lines() + lines.len() as u64;
        write_record(&folder.pod(), &Beginning { lines: beginning }, Durability::Fast)?;
        for line in lines {
            self.writer.push(at, line)?;
        }
        self.beginning = beginning;
        self.writer.flush()
    }

    /// The number of the pod's line that comes next.
    pub(super) const fn next_line(&self) -> u64 {
        self.writer.lines().saturating_sub(self.beginning)
    }

    /// How many lines the whole log has.
    pub(super) const fn lines(&self) -> u64 {
        self.writer.lines()
    }

    /// Adds what is new of these lines, of which the first has this number. Lines that would leave a gap are not taken.
    pub(super) fn append(&mut self, first_line: u64, lines: Vec<(Timestamp, Vec<u8>)>) -> io::Result<()> {
        let next = self.next_line();
        if first_line > next {
            return Ok(());
        }
        let known = usize::try_from(next - first_line).unwrap_or(usize::MAX);
        for (at, text) in lines.into_iter().skip(known) {
            if self.writer.bytes() + text.len() as u64 > self.limit_bytes {
                return Err(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "the log is longer than it may be",
                ));
            }
            self.writer.push(at, &text)?;
        }
        self.writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Reader;

    fn lines(texts: &[&str]) -> Vec<(Timestamp, Vec<u8>)> {
        texts
            .iter()
            .map(|text| (Timestamp(1), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn lines_are_taken_once_and_without_a_gap_also_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let folder = AttemptFolder::new(root.path());
        let mut own = Writer::open(&folder.log()).unwrap();
        own.push(Timestamp(0), b"tombolo: hello").unwrap();
        own.flush().unwrap();
        drop(own);
        let mut log = PodLog::open(&folder, 1000).unwrap();
        log.append(0, lines(&["a", "b"])).unwrap();
        log.append(1, lines(&["b", "c"])).unwrap();
        log.append(5, lines(&["f"])).unwrap();
        assert_eq!(log.next_line(), 3);
        drop(log);
        let mut log = PodLog::open(&folder, 1000).unwrap();
        assert_eq!(log.next_line(), 3);
        log.append(0, lines(&["a", "b", "c", "d"])).unwrap();
        assert_eq!((log.next_line(), log.lines()), (4, 5));
        let read = Reader::open(&folder.log()).unwrap().read(usize::MAX).unwrap();
        let texts: Vec<_> = read
            .iter()
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect();
        assert_eq!(texts, ["tombolo: hello", "a", "b", "c", "d"]);
    }

    #[test]
    fn the_agent_has_a_word_before_the_pod_and_none_after() {
        let root = tempfile::tempdir().unwrap();
        let folder = AttemptFolder::new(root.path());
        let mut log = PodLog::open(&folder, 1000).unwrap();
        let note = |log: &mut PodLog, text: &str| log.note(&folder, Timestamp(1), &[text.into()]).unwrap();
        note(&mut log, "tombolo: waits");
        drop(log);
        // A crash after the record, before the line.
        write_record(&folder.pod(), &Beginning { lines: 2 }, Durability::Fast).unwrap();
        let mut log = PodLog::open(&folder, 1000).unwrap();
        assert_eq!(log.next_line(), 0);
        log.append(0, lines(&["a"])).unwrap();
        note(&mut log, "tombolo: too late");
        assert_eq!((log.next_line(), log.lines()), (1, 2));
        drop(log);
        assert_eq!(PodLog::open(&folder, 1000).unwrap().next_line(), 1);
    }

    #[test]
    fn a_pod_cannot_fill_the_disk() {
        let root = tempfile::tempdir().unwrap();
        let mut log = PodLog::open(&AttemptFolder::new(root.path()), 0).unwrap();
        let line = "x".repeat(60_000);
        let error = (0..1000)
            .find_map(|number| log.append(number, lines(&[&line])).err())
            .expect("there is a limit");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
