//! Cuts the content stream into chunks.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use fastcdc::v2020::FastCDC;
use rustix::io::Errno;

use super::ChunkSink;
use crate::chunk::{AVERAGE_CHUNK_BYTES, BorrowedChunk, ChunkReference, MAXIMUM_CHUNK_BYTES, MINIMUM_CHUNK_BYTES};
use crate::manifest::Builder;
use crate::zeros::are_zeros;

/// Holds what was read and not yet cut: at most one chunk of the longest kind.
pub(super) struct Cutter<'a, Sink> {
    sink: &'a mut Sink,
    buffer: Vec<u8>,
    zeros: Zeros,
}

/// The longest chunk, if it is all zeros: nothing is cut out of those, and what a sparse file is made of needs no second look.
#[derive(Default)]
struct Zeros(Option<(Vec<u8>, ChunkReference)>);

impl Zeros {
    fn chunk(&mut self) -> BorrowedChunk<'_> {
        let (bytes, reference) = self.0.get_or_insert_with(|| {
            // Never written to, so that the system needs no memory for it.
            let bytes = vec![0; MAXIMUM_CHUNK_BYTES as usize];
            let reference = BorrowedChunk::new(&bytes).reference();
            (bytes, reference)
        });
        BorrowedChunk::known(*reference, bytes)
    }
}

/// Which side failed.
pub(super) enum Fault {
    Read(io::Error),
    Sink(io::Error),
}

impl<'a, Sink: ChunkSink> Cutter<'a, Sink> {
    pub(super) fn new(sink: &'a mut Sink) -> Self {
        Self {
            sink,
            buffer: Vec::new(),
            zeros: Zeros::default(),
        }
    }

    /// As [`Self::append`], without reading what the file has no blocks for.
    pub(super) fn append_file(&mut self, file: &mut File, size: u64, builder: &mut Builder) -> Result<u64, Fault> {
        let longest = u64::from(MAXIMUM_CHUNK_BYTES);
        let mut position = 0;
        while position < size {
            // In the middle of a chunk the hole's zeros belong to that one.
            let hole = if self.buffer.is_empty() && size - position >= longest {
                hole(file, position, size).map_err(Fault::Read)?
            } else {
                0
            };
            for _ in 0..hole / longest {
                let chunk = self.zeros.chunk();
                builder.chunk(chunk.reference());
                self.sink.chunk(chunk).map_err(Fault::Sink)?;
            }
            position += hole / longest * longest;
            file.seek(SeekFrom::Start(position)).map_err(Fault::Read)?;
            // As much as can be read before another hole is worth looking for.
            let room = longest - self.buffer.len() as u64;
            let wanted = room.min(size - position);
            let read = self.append(file, wanted, builder)?;
            position += read;
            if read < wanted {
                break;
            }
        }
        Ok(position)
    }

    /// Appends up to `size` bytes of `reader` to the stream and returns how many there were.
    pub(super) fn append(&mut self, reader: &mut impl Read, size: u64, builder: &mut Builder) -> Result<u64, Fault> {
        let mut left = size;
        while left > 0 {
            let room = MAXIMUM_CHUNK_BYTES as usize - self.buffer.len();
            let wanted = left.min(room as u64);
            self.buffer.reserve_exact(wanted as usize);
            let read = reader
                .by_ref()
                .take(wanted)
                .read_to_end(&mut self.buffer)
                .map_err(Fault::Read)? as u64;
            left -= read;
            if read < wanted {
                break;
            }
            if self.buffer.len() == MAXIMUM_CHUNK_BYTES as usize {
                self.cut(builder).map_err(Fault::Sink)?;
            }
        }
        Ok(size - left)
    }

    /// Cuts what is left when the stream has ended.
    pub(super) fn finish(mut self, builder: &mut Builder) -> io::Result<()> {
        while !self.buffer.is_empty() {
            self.cut(builder)?;
        }
        Ok(())
    }

    fn cut(&mut self, builder: &mut Builder) -> io::Result<()> {
        if self.buffer.len() == MAXIMUM_CHUNK_BYTES as usize && are_zeros(&self.buffer) {
            self.buffer.clear();
            let chunk = self.zeros.chunk();
            builder.chunk(chunk.reference());
            return self.sink.chunk(chunk);
        }
        let cutter = FastCDC::new(
            &self.buffer,
            MINIMUM_CHUNK_BYTES as usize,
            AVERAGE_CHUNK_BYTES as usize,
            MAXIMUM_CHUNK_BYTES as usize,
        );
        let (_, end) = cutter.cut(0, self.buffer.len());
        let chunk = BorrowedChunk::new(&self.buffer[..end]);
        builder.chunk(chunk.reference());
        self.sink.chunk(chunk)?;
        self.buffer.drain(..end);
        Ok(())
    }
}

/// How many bytes from `position` on the file has no blocks for; 0 where the file system does not say.
fn hole(file: &File, position: u64, size: u64) -> io::Result<u64> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(position)) {
        Ok(data) => Ok(data.min(size).saturating_sub(position)),
        // There is no data from here to the end.
        Err(Errno::NXIO) => Ok(size - position),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
