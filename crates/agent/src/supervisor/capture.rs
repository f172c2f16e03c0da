//! From what the command prints to lines in the spool, within the log's limit.

use std::collections::VecDeque;
use std::io;

use memchr::{memchr, memchr_iter};
use tombolo_core::time::Timestamp;

use super::echo::Echo;
use crate::mask::{self, Masker};
use crate::spool::{LINE_LIMIT, LINE_OVERHEAD, Writer};

/// What precedes the system's own lines in a log.
pub(crate) const SYSTEM_PREFIX: &str = "tombolo: ";

/// The last lines of a log that is over its limit are kept all the same, up to so many bytes: that is where the reason of
/// a failure stands.
const TAIL_LIMIT: u64 = 64 * 1024;

/// Cuts a byte stream into lines and counts what the limit leaves out. Holds at most one line and the tail in memory.
pub(super) struct Capture {
    spool: Writer,
    echo: Option<Echo<io::Stdout>>,
    limit_bytes: u64,
    masker: Masker,
    mask: mask::Stream,
    partial: Vec<u8>,
    cut_lines: u64,
    cut_bytes: u64,
    tail: VecDeque<(Timestamp, Vec<u8>)>,
    tail_bytes: u64,
}

impl Capture {
    pub(super) fn new(spool: Writer, limit_bytes: u64) -> Self {
        Self {
            spool,
            echo: None,
            limit_bytes,
            masker: Masker::default(),
            mask: mask::Stream::default(),
            partial: Vec::new(),
            cut_lines: 0,
            cut_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
        }
    }

    /// Repeats all lines of the log.
    pub(super) fn echoing(self, echo: Echo<io::Stdout>) -> Self {
        let echo = Some(echo);
        Self { echo, ..self }
    }

    /// Takes secrets out of all that comes, before anything else is done with it.
    pub(super) fn masking(self, masker: &Masker) -> Self {
        let (mask, masker) = (masker.stream(), masker.clone());
        Self { masker, mask, ..self }
    }

    fn push(&mut self, at: Timestamp, text: &[u8]) -> io::Result<()> {
        if let Some(echo) = &mut self.echo {
            echo.line(text);
        }
        self.spool.push(at, text)
    }

    /// Takes in what was printed.
    pub(super) fn write(&mut self, at: Timestamp, bytes: &[u8]) -> io::Result<()> {
        let mut mask = std::mem::take(&mut self.mask);
        let taken = self.take_in(at, mask.write(bytes));
        self.mask = mask;
        taken
    }

    fn take_in(&mut self, at: Timestamp, mut bytes: &[u8]) -> io::Result<()> {
        bytes = self.skip_what_cannot_stay(bytes);
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() {
                self.line(at, line)?;
            } else {
                self.extend(at, line)?;
                self.end_partial(at)?;
            }
            bytes = rest;
        }
        self.extend(at, bytes)?;
        self.spool.flush()
    }

    /// Adds a line of the system's, limit or not.
    pub(crate) fn note(&mut self, at: Timestamp, text: &str) -> io::Result<()> {
        let text = self.masker.text(text).into_owned();
        self.push(at, format!("{SYSTEM_PREFIX}{text}").as_bytes())?;
        self.spool.flush()
    }

    /// Ends the last line, and says what was left out. Returns the number of lines in the spool.
    pub(super) fn finish(mut self, at: Timestamp) -> io::Result<u64> {
        let held = self.mask.finish();
        self.take_in(at, &held)?;
        if !self.partial.is_empty() {
            self.end_partial(at)?;
        }
        // What the tail brings back was not left out.
        self.cut_lines -= self.tail.len() as u64;
        self.cut_bytes -= self.tail.iter().map(|(_, text)| text.len() as u64).sum::<u64>();
        if self.cut_lines > 0 {
            let text = format!(
                "the log reached its limit of {} bytes: {} lines ({} bytes) are left out here",
                self.limit_bytes, self.cut_lines, self.cut_bytes
            );
            self.note(at, &text)?;
        }
        for (at, text) in std::mem::take(&mut self.tail) {
            self.push(at, &text)?;
        }
        self.spool.flush()?;
        Ok(self.spool.lines())
    }

    /// Beyond the limit only the last lines matter: those that more than a tail's worth of bytes follow are counted, not
    /// handled one by one, so that a flood costs little.
    fn skip_what_cannot_stay<'bytes>(&mut self, bytes: &'bytes [u8]) -> &'bytes [u8] {
        let Some(excess) = bytes
            .len()
            .checked_sub(TAIL_LIMIT as usize)
            .filter(|_| self.cut_lines > 0)
        else {
            return bytes;
        };
        let Some(end) = memchr(b'\n', &bytes[excess..]) else {
            return bytes;
        };
        let (skipped, rest) = bytes.split_at(excess + end + 1);
        let lines = memchr_iter(b'\n', skipped).count() as u64;
        self.cut_lines += lines;
        self.cut_bytes += (self.partial.len() + skipped.len()) as u64 - lines;
        self.partial.clear();
        self.tail.clear();
        self.tail_bytes = 0;
        rest
    }

    fn extend(&mut self, at: Timestamp, mut bytes: &[u8]) -> io::Result<()> {
        while self.partial.len() + bytes.len() > LINE_LIMIT {
            let (piece, rest) = bytes.split_at(LINE_LIMIT - self.partial.len());
            self.partial.extend_from_slice(piece);
            self.end_partial(at)?;
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    fn end_partial(&mut self, at: Timestamp) -> io::Result<()> {
        let mut line = std::mem::take(&mut self.partial);
        let result = self.line(at, &line);
        line.clear();
        self.partial = line;
        result
    }

    fn line(&mut self, at: Timestamp, text: &[u8]) -> io::Result<()> {
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let size = LINE_OVERHEAD + text.len() as u64;
        if self.cut_lines == 0 && self.spool.bytes() + size <= self.limit_bytes {
            return self.push(at, text);
        }
        self.cut_lines += 1;
        self.cut_bytes += text.len() as u64;
        self.tail_bytes += size;
        // Buffers of lines that leave are used again: a flood allocates nothing.
        let mut buffer = Vec::new();
        while self.tail_bytes > TAIL_LIMIT {
            let Some((_, first)) = self.tail.pop_front() else { break };
            self.tail_bytes -= LINE_OVERHEAD + first.len() as u64;
            buffer = first;
        }
        if self.tail_bytes > TAIL_LIMIT {
            self.tail_bytes = 0;
            return Ok(());
        }
        buffer.clear();
        buffer.extend_from_slice(text);
        self.tail.push_back((at, buffer));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Reader;

    fn capture(limit: u64, pieces: &[&[u8]]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut capture = Capture::new(Writer::open(&path).unwrap(), limit);
        for piece in pieces {
            capture.write(Timestamp(1), piece).unwrap();
        }
        let count = capture.finish(Timestamp(2)).unwrap();
        let lines = Reader::open(&path).unwrap().read(usize::MAX).unwrap();
        assert_eq!(lines.len() as u64, count);
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect()
    }

    #[test]
    fn lines_are_cut_where_they_end() {
        for (pieces, expected) in [
            (&[&b"a\nb\n"[..]][..], &["a", "b"][..]),
            (&[b"a", b"b\nc"], &["ab", "c"]),
            (&[b"\n\n"], &["", ""]),
            (&[b"a\r\n\xff\0b\r\n"], &["a", "\u{fffd}\0b"]),
            (&[b"10%\r20%\rdone\n"], &["10%\r20%\rdone"]),
            (&[], &[]),
        ] {
            assert_eq!(capture(1000, pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn long_lines_are_split() {
        for size in [LINE_LIMIT, LINE_LIMIT + 1, 3 * LINE_LIMIT] {
            let line = vec![b'x'; size];
            for chunk in [1000, 4096, size] {
                let mut pieces: Vec<&[u8]> = line.chunks(chunk).collect();
                pieces.push(b"\n");
                let lines = capture(u64::MAX, &pieces);
                let total: usize = lines.iter().map(String::len).sum();
                assert_eq!(total, size, "{size} in chunks of {chunk}");
                assert!(lines.len() <= size / LINE_LIMIT + 1);
            }
        }
    }

    #[test]
    fn beyond_the_limit_the_cut_is_said_and_the_last_lines_are_kept() {
        let mut text = Vec::new();
        for number in 0..20_000 {
            text.extend_from_slice(format!("{number:05}\n").as_bytes());
        }
        let lines = capture(100 * 17, &[&text]);
        assert_eq!(lines[99], "00099");
        let tail = TAIL_LIMIT as usize / 17;
        let cut = 20_000 - 100 - tail;
        assert_eq!(
            lines[100],
            format!(
                "tombolo: the log reached its limit of 1700 bytes: {cut} lines ({} bytes) are left out here",
                cut * 5
            )
        );
        assert_eq!(lines.len(), 101 + tail);
        assert_eq!(lines[lines.len() - 1], "19999");
    }

    #[test]
    fn a_tail_that_is_whole_leaves_nothing_out() {
        assert_eq!(capture(20, &[b"first\nsecond\nthird\n"]), ["first", "second", "third"]);
    }
}
