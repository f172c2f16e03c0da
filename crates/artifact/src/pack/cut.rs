//! Cuts the content stream into chunks.

use std::io::{self, Read};

use fastcdc::v2020::FastCDC;

use super::ChunkSink;
use crate::chunk::{AVERAGE_CHUNK_BYTES, BorrowedChunk, MAXIMUM_CHUNK_BYTES, MINIMUM_CHUNK_BYTES};
use crate::manifest::Builder;

/// Holds what was read and not yet cut: at most one chunk of the longest kind.
pub(super) struct Cutter<'a, Sink> {
    sink: &'a mut Sink,
    buffer: Vec<u8>,
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
        }
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
