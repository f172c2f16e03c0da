//! Writing what has come, all attempts together.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tombolo_core::id::AttemptId;
use tombolo_core::log::LogLine;
use tombolo_core::planted::{Bug, planted};
use tombolo_store::{LogSegment, LogWrite, Store};

use super::open::Tail;
use super::{Error, Inner, Pending};

/// How long lines wait for others before they are written: a bound on commits per second, and on how late logs are seen.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// From how many bytes on lines are written at once.
const FLUSH_BYTES: usize = 256 * 1024;

/// The size of a segment in its final form, in bytes before compression: whoever wants one line reads as much.
const SEGMENT_BYTES: usize = 256 * 1024;

/// How many small segments pile up before a large one takes their place.
const TAIL_SEGMENTS: usize = 64;

/// How many lines are read at once when small segments are put together.
const READ_LINES: u32 = 16 * 1024;

/// Writes lines as they come. Made by [`Logs::start`](super::Logs::start).
pub struct Flusher<S> {
    inner: Arc<Inner<S>>,
    receiver: mpsc::Receiver<Pending>,
}

impl<S> std::fmt::Debug for Flusher<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Flusher").finish_non_exhaustive()
    }
}

/// One attempt's part of a flush.
struct Part {
    generation: u64,
    lines: Vec<LogLine>,
    last: bool,
    tail: Tail,
}

impl<S: Store> Flusher<S> {
    pub(super) const fn new(inner: Arc<Inner<S>>, receiver: mpsc::Receiver<Pending>) -> Self {
        Self { inner, receiver }
    }

    /// Writes until `stop` is cancelled; what has come before is still written.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                first = self.receiver.recv() => first,
                () = stop.cancelled() => break,
            };
            let Some(first) = first else { break };
            let batch = self.gather(first, &stop).await;
            self.flush(batch).await;
        }
        self.receiver.close();
        let mut rest = Vec::new();
        while let Some(pending) = self.receiver.recv().await {
            rest.push(pending);
        }
        self.flush(rest).await;
    }

    async fn gather(&mut self, first: Pending, stop: &CancellationToken) -> Vec<Pending> {
        let until = tokio::time::sleep(FLUSH_AFTER);
        tokio::pin!(until);
        let mut bytes = size(&first);
        let mut batch = vec![first];
        while bytes < FLUSH_BYTES {
            let next = tokio::select! {
                biased;
                next = self.receiver.recv() => next,
                () = &mut until => break,
                () = stop.cancelled() => break,
            };
            let Some(next) = next else { break };
            bytes += size(&next);
            batch.push(next);
        }
        batch
    }

    async fn flush(&self, batch: Vec<Pending>) {
        let open = &self.inner.open;
        let mut parts = BTreeMap::<AttemptId, Part>::new();
        let mut waiting = Vec::with_capacity(batch.len());
        for pending in batch {
            let Some(tail) = open.tail(pending.attempt, pending.generation) else {
                // Those before it could not be written.
                drop(pending.done.send(Err(Error::Unavailable)));
                continue;
            };
            let part = parts.entry(pending.attempt).or_insert(Part {
                generation: pending.generation,
                lines: Vec::new(),
                last: false,
                tail,
            });
            debug_assert_eq!(
                part.generation, pending.generation,
                "a log has one generation at a time"
            );
            part.lines.extend(pending.lines);
            part.last |= pending.last;
            waiting.push((pending.attempt, pending.done, pending._room));
        }
        let result = self.write(&mut parts).await;
        for (attempt, part) in parts {
            match (&result, part.lines.last()) {
                (Ok(()), Some(last)) => open.advance(attempt, last.number + 1, part.tail),
                (Ok(()), None) => {}
                (Err(_), _) => open.forget(attempt),
            }
        }
        for (attempt, done, room) in waiting {
            let answer = result
                .clone()
                .and_then(|()| open.durable(attempt).ok_or(Error::Unavailable));
            // Whoever does not wait any more sends them again.
            let _ = done.send(answer);
            drop(room);
        }
    }

    /// Writes all parts in one transaction, and leaves in them what their tails and last lines are then.
    async fn write(&self, parts: &mut BTreeMap<AttemptId, Part>) -> Result<(), Error> {
        let mut writes = Vec::new();
        for (attempt, part) in &mut *parts {
            self.merge(*attempt, part).await?;
            let kept = part
                .lines
                .len()
                .saturating_sub(usize::from(planted(Bug::LastLogLineLost)));
            let segments = segments(&part.lines[..kept]);
            writes.extend(segments.into_iter().map(|segment| LogWrite {
                attempt: *attempt,
                segment,
            }));
        }
        if writes.is_empty() {
            return Ok(());
        }
        let epoch = self.inner.handle.epoch();
        let unavailable = |error: tombolo_store::Error| {
            tracing::warn!(%error, "logs cannot be written");
            Error::Unavailable
        };
        match self.inner.store.append_log(epoch, writes.clone()).await {
            // The driver has begun anew meanwhile.
            Err(tombolo_store::Error::Deposed) if self.inner.handle.epoch() != epoch => {
                let retried = self.inner.store.append_log(self.inner.handle.epoch(), writes).await;
                retried.map_err(unavailable)
            }
            result => result.map_err(unavailable),
        }
    }

    /// Puts the small segments before the lines in front of them if it is time for a large one, and says what the tail is
    /// once the lines are written.
    async fn merge(&self, attempt: AttemptId, part: &mut Part) -> Result<(), Error> {
        let bytes: usize = part.lines.iter().map(LogLine::weight).sum();
        let Tail {
            first_line,
            bytes: tail_bytes,
            segments,
        } = part.tail;
        let next = part.lines.last().map_or(first_line, |line| line.number + 1);
        let full = tail_bytes + bytes >= SEGMENT_BYTES || segments >= TAIL_SEGMENTS || part.last;
        if !full {
            part.tail.bytes += bytes;
            part.tail.segments += usize::from(!part.lines.is_empty());
            return Ok(());
        }
        let alone = part.lines.is_empty() && segments <= 1;
        if segments > 0 && !alone {
            let upto = part.lines.first().map(|line| line.number);
            let mut before = self.read_tail(attempt, first_line, upto).await?;
            before.append(&mut part.lines);
            part.lines = before;
        }
        let next = part.lines.last().map_or(next, |line| line.number + 1);
        if !alone {
            part.tail = Tail {
                first_line: next,
                ..Tail::default()
            };
        }
        Ok(())
    }

    async fn read_tail(&self, attempt: AttemptId, first: u64, upto: Option<u64>) -> Result<Vec<LogLine>, Error> {
        let mut lines = Vec::<LogLine>::new();
        loop {
            let next = lines.last().map_or(first, |line| line.number + 1);
            if upto.is_some_and(|upto| next >= upto) {
                return Ok(lines);
            }
            let more = self
                .inner
                .store
                .read_log(attempt, next, READ_LINES)
                .await
                .map_err(|error| {
                    tracing::warn!(%attempt, %error, "a log cannot be read");
                    Error::Unavailable
                })?;
            // Another leader has written what is to come here: how far the log is has to be read again.
            if more
                .last()
                .is_some_and(|last| upto.is_some_and(|upto| last.number >= upto))
            {
                return Err(Error::Unavailable);
            }
            match (more.is_empty(), upto) {
                (false, _) => lines.extend(more),
                (true, None) => return Ok(lines),
                // The job was deleted meanwhile; nothing is written of it any more.
                (true, Some(_)) => return Err(Error::Unavailable),
            }
        }
    }
}

fn size(pending: &Pending) -> usize {
    pending.lines.iter().map(LogLine::weight).sum()
}

/// Cuts lines into segments.
fn segments(lines: &[LogLine]) -> Vec<LogSegment> {
    let (mut segments, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, line) in lines.iter().enumerate() {
        bytes += line.weight();
        if bytes >= SEGMENT_BYTES || index + 1 == lines.len() {
            segments.push(LogSegment::encode(&lines[start..=index]));
            (start, bytes) = (index + 1, 0);
        }
    }
    segments
}
