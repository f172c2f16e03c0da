//! How far the pod's log has come to the agent.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use tokio::time::Instant;

use crate::shipper::reading::{self, Batch};
use crate::spool::Reader;

/// Batches that may be on their way at once: a round trip then costs little throughput.
const BATCHES_AT_ONCE: usize = 4;

/// The log, as it is read and sent on the present session.
pub(super) struct Log {
    path: PathBuf,
    /// None until the file is there.
    reader: Option<Reader>,
    /// The agent has all lines before this one on its disk.
    acknowledged: u64,
    on_the_way: VecDeque<Sent>,
    /// Where to go on.
    go_to: Option<u64>,
    /// The agent has answered on this session, so that it is known what it wants.
    answered: bool,
}

/// A batch that was sent.
struct Sent {
    first: u64,
    /// The line after it.
    end: u64,
    at: Instant,
}

impl Log {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            reader: None,
            acknowledged: 0,
            on_the_way: VecDeque::new(),
            go_to: None,
            answered: false,
        }
    }

    /// A new session: what was on its way is sent again.
    pub(super) fn restart(&mut self) {
        self.on_the_way.clear();
        self.answered = false;
        self.go_to = Some(self.acknowledged);
    }

    /// Since when the oldest batch waits for its answer.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.on_the_way.front().map(|sent| sent.at)
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.on_the_way.is_empty() && self.go_to.is_none()
    }

    /// Whether a batch may be sent. The first of a session goes alone: its answer says from where the agent wants it.
    pub(super) fn has_room(&self) -> bool {
        self.on_the_way.len() < if self.answered { BATCHES_AT_ONCE } else { 1 }
    }

    /// The next lines; none if there are none yet.
    pub(super) async fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        let (reader, path, go_to) = (self.reader.take(), self.path.clone(), self.go_to.take());
        // Disks can be slow: not on the thread that serves connections.
        let read = tokio::task::spawn_blocking(move || reading::read(reader, &path, go_to)).await;
        let (reader, batch) = read.map_err(io::Error::other)??;
        self.reader = reader;
        if batch.lines.is_empty() {
            return Ok(None);
        }
        self.on_the_way.push_back(Sent {
            first: batch.first_line,
            end: batch.first_line + batch.lines.len() as u64,
            at: Instant::now(),
        });
        Ok(Some(batch))
    }

    /// The agent has all lines before `next_line`.
    pub(super) fn acknowledged(&mut self, next_line: u64) {
        self.answered = true;
        self.acknowledged = next_line;
        while self.on_the_way.front().is_some_and(|sent| sent.end <= next_line) {
            self.on_the_way.pop_front();
        }
        let position = self.reader.as_ref().map_or(0, Reader::next_line);
        let lacking = match self.on_the_way.front() {
            Some(sent) => next_line < sent.first,
            None => next_line != position,
        };
        if lacking {
            self.on_the_way.clear();
            self.go_to = Some(next_line);
        }
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::time::Timestamp;

    use super::*;
    use crate::spool::Writer;

    /// A log of ten batches, and the number of lines in one of them.
    fn log() -> (tempfile::TempDir, Log, u64) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        let (length, lines) = (8 * 1024 - 12, 32);
        for _ in 0..10 * lines {
            writer.push(Timestamp(1), &vec![b'x'; length]).unwrap();
        }
        writer.flush().unwrap();
        (folder, Log::new(path), lines)
    }

    async fn send(log: &mut Log) -> Vec<u64> {
        let mut sent = Vec::new();
        while log.has_room() {
            let Some(batch) = log.next_batch().await.unwrap() else {
                break;
            };
            sent.push(batch.first_line);
        }
        sent
    }

    #[tokio::test]
    async fn the_first_answer_says_where_to_go_on_and_later_ones_may_come_together() {
        let (_folder, mut log, batch) = log();
        assert_eq!(send(&mut log).await, [0]);
        assert!(send(&mut log).await.is_empty());
        // It has more than was sent: from another courier.
        log.acknowledged(2 * batch);
        assert_eq!(send(&mut log).await, [2, 3, 4, 5].map(|number| number * batch));
        log.acknowledged(5 * batch);
        assert_eq!(send(&mut log).await, [6, 7, 8].map(|number| number * batch));
        log.restart();
        assert_eq!(send(&mut log).await, [5 * batch]);
    }

    #[tokio::test]
    async fn what_the_agent_lacks_is_sent_again() {
        let (_folder, mut log, batch) = log();
        send(&mut log).await;
        // Said before it has seen anything: not lost.
        log.acknowledged(0);
        assert_eq!(send(&mut log).await, [1, 2, 3].map(|number| number * batch));
        log.acknowledged(2 * batch);
        // An agent that lost what it had not acknowledged.
        log.restart();
        assert_eq!(send(&mut log).await, [2 * batch]);
        log.acknowledged(batch);
        assert_eq!(send(&mut log).await, [1, 2, 3, 4].map(|number| number * batch));
        log.acknowledged(5 * batch);
        assert_eq!(send(&mut log).await, [5, 6, 7, 8].map(|number| number * batch));
        log.acknowledged(9 * batch);
        assert_eq!(send(&mut log).await, [9 * batch]);
        log.acknowledged(10 * batch);
        assert!(log.is_idle() && send(&mut log).await.is_empty());
    }

    #[tokio::test]
    async fn a_log_that_is_not_there_yet_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path().join("log"));
        assert!(log.next_batch().await.unwrap().is_none() && log.is_idle());
    }
}
