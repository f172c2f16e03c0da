//! The log of one attempt on the agent's disk: numbered lines, written by one process at a time, read by another.
//!
//! A record is the time (8 bytes, milliseconds since 1970 UTC), the length (4 bytes), both little-endian, and the text. A
//! line's number is its place, from 0. A record that was cut off by a crash is not a line; the next writer removes it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tombolo_core::log::LINE_BYTES_MAX;
use tombolo_core::time::Timestamp;

/// No line is longer, in bytes: longer ones are split. It bounds what a reader must hold.
pub const LINE_LIMIT: usize = LINE_BYTES_MAX;

const HEADER: usize = 12;
const BUFFER: usize = 256 * 1024;

/// What one line takes on the disk beside its text, in bytes.
pub const LINE_OVERHEAD: u64 = HEADER as u64;

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written.
    pub at: Timestamp,
    /// Its text without the line end; any bytes.
    pub text: Vec<u8>,
}

/// Appends lines.
#[derive(Debug)]
pub struct Writer {
    file: File,
    buffer: Vec<u8>,
    lines: u64,
    bytes: u64,
}

impl Writer {
    /// Opens a spool to append to, and makes it if there is none. What a crash has cut off is removed.
    ///
    /// # Errors
    /// Those of the file; `WouldBlock` if another writer has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        lock(&file)?;
        let (lines, bytes) = measure(&mut file)?;
        if bytes < file.metadata()?.len() {
            file.set_len(bytes)?;
        }
        Ok(Self {
            file,
            buffer: Vec::new(),
            lines,
            bytes,
        })
    }

    /// Adds a line, split if it is too long. It reaches the file at the next [`Self::flush`], or before.
    ///
    /// # Errors
    /// Those of the file.
    pub fn push(&mut self, at: Timestamp, text: &[u8]) -> io::Result<()> {
        let mut rest = text;
        loop {
            let (piece, after) = rest.split_at(rest.len().min(LINE_LIMIT));
            let length = u32::try_from(piece.len()).expect("a piece is at most LINE_LIMIT long");
            self.buffer.extend_from_slice(&at.0.to_le_bytes());
            self.buffer.extend_from_slice(&length.to_le_bytes());
            self.buffer.extend_from_slice(piece);
            self.lines += 1;
            self.bytes += LINE_OVERHEAD + u64::from(length);
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
        }
    }

    /// Hands all lines to the operating system: readers see them.
    ///
    /// # Errors
    /// Those of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// How many lines there are.
    pub const fn lines(&self) -> u64 {
        self.lines
    }

    /// How large the file is, in bytes, with what waits to be flushed.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A process that was just forked by a thread of the last writer's may hold the lock for a moment more, until it becomes
/// another program: that much is waited.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Takes the exclusive lock of a file whose last holder has let go of it, or is about to.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(LOCK_PATIENCE / 200);
            }
            taken => return taken.map_err(io::Error::from),
        }
    }
}

/// The number of whole records and where they end.
fn measure(file: &mut File) -> io::Result<(u64, u64)> {
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::with_capacity(BUFFER, file);
    let (mut lines, mut end) = (0, 0);
    let mut header = [0; HEADER];
    while length - end >= LINE_OVERHEAD {
        reader.read_exact(&mut header)?;
        let text = u64::from(text_length(&header)?);
        if length - end < LINE_OVERHEAD + text {
            break;
        }
        reader.seek_relative(i64::try_from(text).expect("a text is at most LINE_LIMIT long"))?;
        lines += 1;
        end += LINE_OVERHEAD + text;
    }
    Ok((lines, end))
}

fn text_length(header: &[u8; HEADER]) -> io::Result<u32> {
    let length = u32::from_le_bytes(header[8..].try_into().expect("a header's last four bytes"));
    if length as usize > LINE_LIMIT {
        let reason = format!("the log spool is damaged: a line of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(length)
}

/// Reads lines, also while they are being written.
#[derive(Debug)]
pub struct Reader {
    file: File,
    /// Read but not yet given out; begins at a record.
    buffer: Vec<u8>,
    next_line: u64,
}

impl Reader {
    /// Opens a spool at its first line.
    ///
    /// # Errors
    /// Those of the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            buffer: Vec::new(),
            next_line: 0,
        })
    }

    /// The number of the line that is read next.
    pub const fn next_line(&self) -> u64 {
        self.next_line
    }

    /// Goes to a line, forwards or backwards; to the end if there are not so many.
    ///
    /// # Errors
    /// Those of the file.
    pub fn seek(&mut self, line: u64) -> io::Result<()> {
        if line < self.next_line {
            self.file.seek(SeekFrom::Start(0))?;
            self.buffer.clear();
            self.next_line = 0;
        }
        while self.next_line < line {
            let Some(length) = self.record()? else { break };
            self.buffer.drain(..length);
            self.next_line += 1;
            self.skip(line)?;
        }
        Ok(())
    }

    /// Skips what of the buffer lies before `line`, without moving memory for each.
    fn skip(&mut self, line: u64) -> io::Result<()> {
        let mut start = 0;
        while self.next_line < line {
            let Some(length) = whole_record(&self.buffer[start..])? else {
                break;
            };
            start += length;
            self.next_line += 1;
        }
        self.buffer.drain(..start);
        Ok(())
    }

    /// The next lines, up to about `bytes` of text (at least one line); empty if there are none yet.
    ///
    /// # Errors
    /// Those of the file; `InvalidData` if it is no spool.
    pub fn read(&mut self, bytes: usize) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut taken = 0;
        while taken < bytes {
            if self.record()?.is_none() {
                break;
            }
            let mut start = 0;
            while taken < bytes {
                let Some(length) = whole_record(&self.buffer[start..])? else {
                    break;
                };
                let record = &self.buffer[start..start + length];
                let at = u64::from_le_bytes(record[..8].try_into().expect("a record has a header"));
                lines.push(Line {
                    at: Timestamp(at),
                    text: record[HEADER..].to_vec(),
                });
                taken += length;
                start += length;
                self.next_line += 1;
            }
            self.buffer.drain(..start);
        }
        Ok(lines)
    }

    /// The length of the record at the front of the buffer, which is filled from the file for it.
    fn record(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(length) = whole_record(&self.buffer)? {
                return Ok(Some(length));
            }
            let read = (&mut self.file).take(BUFFER as u64).read_to_end(&mut self.buffer)?;
            if read == 0 {
                // A torn record may be removed and written over: read it again next time.
                let torn = i64::try_from(self.buffer.len()).expect("a torn record is short");
                self.file.seek_relative(-torn)?;
                self.buffer.clear();
                return Ok(None);
            }
        }
    }
}

/// The length of the record that `bytes` begin with; none if it is not there whole.
fn whole_record(bytes: &[u8]) -> io::Result<Option<usize>> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = HEADER + text_length(header)? as usize;
    Ok((bytes.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines
            .iter()
            .map(|line| String::from_utf8_lossy(&line.text).into_owned())
            .collect()
    }

    #[test]
    fn lines_come_back_in_order_from_any_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        let mut reader = Reader::open(&path).unwrap();
        assert!(reader.read(1000).unwrap().is_empty());
        for number in 0..20_000_u64 {
            writer
                .push(Timestamp(number), format!("line {number}").as_bytes())
                .unwrap();
        }
        writer.flush().unwrap();
        for from in [0, 7, 19_999, 3, 20_000, 20_500] {
            reader.seek(from).unwrap();
            let first = reader.read(1).unwrap();
            let expected: Vec<String> = (from..20_000).take(1).map(|number| format!("line {number}")).collect();
            assert_eq!(texts(&first), expected, "from {from}");
        }
        reader.seek(0).unwrap();
        let mut all = Vec::new();
        loop {
            let lines = reader.read(4096).unwrap();
            if lines.is_empty() {
                break;
            }
            all.extend(lines);
        }
        assert_eq!(all.len(), 20_000);
        assert!(all.iter().enumerate().all(|(number, line)| line.at.0 == number as u64));
    }

    #[test]
    fn long_lines_are_split_and_empty_ones_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = Writer::open(&path).unwrap();
        for length in [0, LINE_LIMIT, 2 * LINE_LIMIT + 1] {
            writer.push(Timestamp(1), &vec![b'x'; length]).unwrap();
        }
        writer.flush().unwrap();
        let lines = Reader::open(&path).unwrap().read(usize::MAX).unwrap();
        let lengths: Vec<usize> = lines.iter().map(|line| line.text.len()).collect();
        assert_eq!(lengths, [0, LINE_LIMIT, LINE_LIMIT, LINE_LIMIT, 1]);
        assert_eq!(writer.lines(), 5);
    }

    #[test]
    fn a_line_that_a_crash_cut_off_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for cut in [1, HEADER, HEADER + 2] {
            let mut writer = Writer::open(&path).unwrap();
            writer.push(Timestamp(1), b"whole").unwrap();
            writer.push(Timestamp(2), b"torn").unwrap();
            writer.flush().unwrap();
            let (lines, bytes) = (writer.lines(), writer.bytes());
            drop(writer);
            OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(bytes - cut as u64)
                .unwrap();
            let mut reader = Reader::open(&path).unwrap();
            assert_eq!(reader.read(usize::MAX).unwrap().len() as u64, lines - 1);
            reader.seek(0).unwrap();
            let mut writer = Writer::open(&path).unwrap();
            assert_eq!(writer.lines(), lines - 1, "cut by {cut}");
            writer.push(Timestamp(3), b"next").unwrap();
            writer.flush().unwrap();
            let read = reader.read(usize::MAX).unwrap();
            assert_eq!(texts(&read)[lines as usize - 2..], ["whole", "next"]);
        }
    }

    #[test]
    fn what_is_no_spool_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, [0xff; 100]).unwrap();
        assert_eq!(Writer::open(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let error = Reader::open(&path).unwrap().read(1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let _first = Writer::open(&path).unwrap();
        assert_eq!(Writer::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
