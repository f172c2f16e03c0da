//! How far one attempt's log is read, sent and acknowledged.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tombolo_runtime::blocking;

use super::{BATCH_BYTES, Drained};
use crate::spool::{Line, Reader};

/// Batches of one attempt that may be on their way at once: a round trip then costs little throughput.
const BATCHES_AT_ONCE: usize = 4;

/// One attempt's spool, as whoever ships it and whoever waits for it share it.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing more will be written.
    complete: bool,
    over: Option<Drained>,
}

impl Spool {
    pub(super) fn new(path: PathBuf) -> Self {
        let state = watch::channel(State::default()).0;
        Self { path, state }
    }

    pub(super) fn complete(&self) {
        self.state.send_modify(|state| state.complete = true);
    }

    /// The first end counts.
    pub(super) fn end(&self, drained: Drained) {
        self.state.send_modify(|state| {
            state.over.get_or_insert(drained);
        });
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().over.is_some()
    }

    pub(super) async fn drained(&self) -> Drained {
        let mut state = self.state.subscribe();
        let over = state.wait_for(|state| state.over.is_some()).await;
        over.ok()
            .and_then(|state| state.over.clone())
            .unwrap_or(Drained::Stopped)
    }
}

/// Consecutive lines.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) first_line: u64,
    pub(crate) lines: Vec<Line>,
}

impl Batch {
    /// Whether there are probably more lines behind it.
    pub(super) fn is_full(&self) -> bool {
        self.lines.iter().map(|line| line.text.len() + 12).sum::<usize>() >= BATCH_BYTES
    }
}

/// How far it is on the present stream.
pub(super) struct Reading {
    spool: Arc<Spool>,
    /// None until the file is there.
    reader: Option<Reader>,
    /// All lines before this one are durable at the master.
    acknowledged: u64,
    /// The line after each batch that is on its way, and when that was sent; oldest first.
    on_the_way: VecDeque<(u64, Instant)>,
    /// Where to go on once nothing is on its way any more.
    go_to: Option<u64>,
    /// The master has answered on this stream, so that it is known what it wants.
    answered: bool,
    /// A complete spool was read to its end.
    at_end: bool,
}

impl Reading {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self {
            spool,
            reader: None,
            acknowledged: 0,
            on_the_way: VecDeque::new(),
            go_to: None,
            answered: false,
            at_end: false,
        }
    }

    pub(super) fn is_of(&self, spool: &Arc<Spool>) -> bool {
        Arc::ptr_eq(&self.spool, spool)
    }

    pub(super) fn is_over(&self) -> bool {
        self.spool.is_over()
    }

    /// A new stream: what was on its way is sent again.
    pub(super) fn restart(&mut self) {
        self.on_the_way.clear();
        self.answered = false;
        self.go_to = Some(self.acknowledged);
    }

    /// Since when the oldest batch waits for its answer.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.on_the_way.front().map(|(_, sent_at)| *sent_at)
    }

    /// What to send next; none if there is nothing yet, or enough is on its way.
    pub(super) async fn next_batch(&mut self) -> Option<Batch> {
        let limit = if self.answered { BATCHES_AT_ONCE } else { 1 };
        let waits_for_answers = self.go_to.is_some() && !self.on_the_way.is_empty();
        if self.is_over() || waits_for_answers || self.on_the_way.len() >= limit {
            return None;
        }
        // Asked before the file is read: what was written until then is read now.
        let complete = self.spool.state.borrow().complete;
        match self.read().await {
            Ok(batch) if batch.lines.is_empty() => {
                self.at_end = complete;
                self.finish();
                None
            }
            Ok(batch) => {
                let end = batch.first_line + batch.lines.len() as u64;
                self.on_the_way.push_back((end, Instant::now()));
                Some(batch)
            }
            Err(error) => {
                let path = self.spool.path.display();
                tracing::error!(%path, %error, "a log cannot be read");
                self.spool.end(Drained::Unreadable(format!("{path}: {error}")));
                None
            }
        }
    }

    /// Takes an answer: all lines before `next_line` are durable. Returns whether there may be more to do at once.
    pub(super) fn acknowledged(&mut self, next_line: u64) -> bool {
        let was_full = !self.answered || self.on_the_way.len() >= BATCHES_AT_ONCE;
        self.answered = true;
        self.acknowledged = self.acknowledged.max(next_line);
        let end = self.on_the_way.pop_front().map(|(end, _)| end);
        // It has more than was sent, or lacks some before it.
        if end.is_some_and(|end| end != next_line) {
            self.go_to = Some(next_line);
        }
        self.finish();
        was_full || self.go_to.is_some() || self.is_over()
    }

    pub(super) fn refused(&mut self) {
        self.spool.end(Drained::Refused);
    }

    fn finish(&mut self) {
        let lines = self.reader.as_ref().map_or(0, Reader::next_line);
        if self.at_end && self.go_to.is_none() && self.acknowledged >= lines {
            self.spool.end(Drained::Acknowledged { lines });
        }
    }

    /// Disks can be slow: not on a thread that serves connections.
    async fn read(&mut self) -> io::Result<Batch> {
        let (reader, path) = (self.reader.take(), self.spool.path.clone());
        let go_to = self.go_to.take();
        let (reader, batch) = blocking::run(move || read(reader, &path, go_to)).await?;
        self.reader = reader;
        Ok(batch)
    }
}

/// The next batch of a spool, from the line `go_to` if that is given; empty if there is nothing yet, not even the spool.
pub(crate) fn read(reader: Option<Reader>, path: &Path, go_to: Option<u64>) -> io::Result<(Option<Reader>, Batch)> {
    let mut reader = match reader.map_or_else(|| Reader::open(path), Ok) {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (first_line, lines) = (0, Vec::new());
            return Ok((None, Batch { first_line, lines }));
        }
        Err(error) => return Err(error),
    };
    if let Some(line) = go_to {
        reader.seek(line)?;
    }
    let first_line = reader.next_line();
    let lines = reader.read(BATCH_BYTES)?;
    Ok((Some(reader), Batch { first_line, lines }))
}
