//! Pieces of logs as they are stored: consecutive lines, compressed together.
//!
//! A log is a row of segments. While a job runs, small ones come (a flush each); once there is enough for a large one, it
//! takes the place of the small ones ([`LogWrite`]). The first line and the number of lines of each segment are the index by
//! which a line is found; within a segment (some hundred kilobytes) it is found by reading on.

use tombolo_core::id::AttemptId;
use tombolo_core::log::LogLine;
use tombolo_core::time::Timestamp;

/// How much one read returns at the most, in bytes of lines (and at least one line): what a reader holds in memory.
pub const READ_BYTES: usize = 1024 * 1024;

/// The most that one segment may hold, in bytes of lines before compression. Guards whoever decompresses it.
pub const SEGMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How hard to compress: above this level, text gains little and takes much longer.
const COMPRESSION_LEVEL: i32 = 3;

/// Consecutive lines of a log, compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSegment {
    /// The number of its first line.
    pub first_line: u64,
    /// How many lines it has, at least one.
    pub lines: u64,
    /// How much the lines are before compression, in bytes.
    pub bytes: u64,
    /// The lines, compressed.
    pub data: Vec<u8>,
}

/// One segment to write. It takes the place of all segments of its attempt that begin within its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogWrite {
    /// Whose log.
    pub attempt: AttemptId,
    /// What.
    pub segment: LogSegment,
}

/// How much of a log is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogState {
    /// The number of the line that comes next; also the number of lines.
    pub next_line: u64,
    /// Their size before compression, in bytes.
    pub bytes: u64,
    /// Their size as stored, in bytes.
    pub stored_bytes: u64,
}

/// A segment that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log segment at line {first_line}: {reason}")]
pub struct DecodeError {
    /// Which segment.
    pub first_line: u64,
    /// What is wrong.
    pub reason: String,
}

impl LogSegment {
    /// Compresses lines.
    ///
    /// # Panics
    ///
    /// If there are no lines, or their numbers are not consecutive: whoever makes segments has checked that.
    pub fn encode(lines: &[LogLine]) -> Self {
        let first_line = lines.first().expect("a segment has a line").number;
        let mut raw = Vec::with_capacity(lines.iter().map(LogLine::weight).sum());
        for (line, number) in lines.iter().zip(first_line..) {
            assert_eq!(line.number, number, "lines of a segment are consecutive");
            raw.extend_from_slice(&line.at.0.to_le_bytes());
            raw.extend_from_slice(&u32::try_from(line.text.len()).expect("lines are short").to_le_bytes());
            raw.extend_from_slice(&line.text);
        }
        let data = zstd::bulk::compress(&raw, COMPRESSION_LEVEL).expect("compressing in memory cannot fail");
        Self {
            first_line,
            lines: lines.len() as u64,
            bytes: raw.len() as u64,
            data,
        }
    }

    /// The lines from the number `from` on.
    pub fn decode(&self, from: u64) -> Result<Vec<LogLine>, DecodeError> {
        let error = |reason: &str| DecodeError {
            first_line: self.first_line,
            reason: reason.to_owned(),
        };
        let size = usize::try_from(self.bytes)
            .ok()
            .filter(|size| *size <= SEGMENT_BYTES_MAX);
        let size = size.ok_or_else(|| error("it claims to be too large"))?;
        let raw = zstd::bulk::decompress(&self.data, size)
            .map_err(|failure| error(&format!("it cannot be decompressed: {failure}")))?;
        let mut rest = raw.as_slice();
        let mut lines = Vec::new();
        for number in self.first_line..self.first_line.saturating_add(self.lines) {
            let (at, after) = rest.split_first_chunk().ok_or_else(|| error("it is cut"))?;
            let (length, after) = after.split_first_chunk().ok_or_else(|| error("it is cut"))?;
            let (text, after) = after
                .split_at_checked(u32::from_le_bytes(*length) as usize)
                .ok_or_else(|| error("it is cut"))?;
            if number >= from {
                let at = Timestamp(u64::from_le_bytes(*at));
                lines.push(LogLine {
                    number,
                    at,
                    text: text.to_vec(),
                });
            }
            rest = after;
        }
        if rest.is_empty() {
            Ok(lines)
        } else {
            Err(error("it has more than its lines"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(first: u64, texts: &[&[u8]]) -> Vec<LogLine> {
        let line = |(number, text): (u64, &&[u8])| LogLine {
            number,
            at: Timestamp(number * 10),
            text: text.to_vec(),
        };
        (first..).zip(texts).map(line).collect()
    }

    #[test]
    fn round_trip_from_any_line() {
        let all = lines(
            7,
            &[b"", b"one", b"nul \0 in it", b"\xff\xfe not UTF-8", &[b'x'; 20_000]],
        );
        let segment = LogSegment::encode(&all);
        assert_eq!((segment.first_line, segment.lines), (7, 5));
        for from in 0..14 {
            let expected: Vec<_> = all.iter().filter(|line| line.number >= from).cloned().collect();
            assert_eq!(segment.decode(from).unwrap(), expected, "from {from}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let segment = LogSegment::encode(&lines(0, &[b"one", b"two"]));
        type Damage = fn(&mut LogSegment);
        let damaged: [(&str, Damage); 6] = [
            ("flipped", |segment| segment.data[0] ^= 1),
            ("short", |segment| segment.data.truncate(5)),
            ("more lines", |segment| segment.lines += 1),
            ("fewer lines", |segment| segment.lines -= 1),
            ("less bytes", |segment| segment.bytes -= 1),
            ("a bomb", |segment| segment.bytes = u64::MAX),
        ];
        for (what, damage) in damaged {
            let mut segment = segment.clone();
            damage(&mut segment);
            assert!(segment.decode(0).is_err(), "{what}");
        }
    }
}
