//! The archive while it is made, and the sums of what is in it.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use tar::{Builder, EntryType};

use super::{FAILURE, Line, MANIFEST};

/// The archive, and what was added to it.
pub(super) struct Archive<W: Write> {
    tar: Builder<zstd::Encoder<'static, W>>,
    /// The manifest so far, on the disk: there may be very many sources.
    lines: BufWriter<File>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> io::Result<Self> {
        let mut encoder = zstd::Encoder::new(to, 0)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            tar: Builder::new(encoder),
            lines: BufWriter::new(tempfile::tempfile()?),
        })
    }

    /// Adds a file if it is there.
    pub(super) fn add_file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot read `{}`: {error}", path.display()));
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(told(error)),
        };
        let size = file.metadata().map_err(told)?.len();
        self.add(name, &mut file, size)
    }

    pub(super) fn add(&mut self, name: &str, content: &mut dyn Read, size: u64) -> io::Result<()> {
        let mut content = Summing::new(content.take(size));
        self.append(name, &mut content, size)?;
        if content.size != size {
            return Err(io::Error::other(format!("`{name}` became shorter while it was read")));
        }
        let line = content.line(name);
        serde_json::to_writer(&mut self.lines, &line)?;
        self.lines.write_all(b"\n")
    }

    pub(super) fn append(&mut self, name: &str, content: &mut dyn Read, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_size(size);
        header.set_mtime(0);
        self.tar.append_data(&mut header, name, content)
    }

    /// Sends what was added so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.tar.get_mut().flush()
    }

    #[cfg(test)]
    pub(super) fn append_as(&mut self, mut header: tar::Header, content: &[u8]) {
        header.set_entry_type(EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.tar.append(&header, content).expect("memory takes it");
    }

    /// Ends the archive with the list of what is in it.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.lines.flush()?;
        let mut lines = self.lines.get_ref().try_clone()?;
        let size = lines.stream_position()?;
        lines.rewind()?;
        self.append(MANIFEST, &mut lines, size)?;
        self.end()
    }

    /// Says in the archive why it ends here.
    pub(super) fn give_up(mut self, why: &io::Error) -> io::Result<W> {
        let why = why.to_string();
        self.append(FAILURE, &mut why.as_bytes(), why.len() as u64)?;
        self.end()
    }

    fn end(self) -> io::Result<W> {
        let mut to = self.tar.into_inner()?.finish()?;
        to.flush()?;
        Ok(to)
    }
}

/// Sums what is read through it.
pub(super) struct Summing<R> {
    inner: R,
    hasher: blake3::Hasher,
    size: u64,
}

impl<R: Read> Summing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            size: 0,
        }
    }

    /// The line of a file that was read so.
    pub(super) fn line(&self, name: &str) -> Line {
        Line {
            name: name.to_owned(),
            size: self.size,
            blake3: self.hasher.finalize().to_hex().to_string(),
        }
    }
}

impl<R: Read> Read for Summing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }
}
