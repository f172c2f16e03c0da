//! The content of an artifact as it comes, and the pieces of a body as they go.

use std::io;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt};

use crate::outputs::{Error, Fetched};
use crate::rest::Sink;

/// Small pieces are gathered up to this size: a header each would be a write each.
const GATHERED_BYTES: usize = 64 * 1024;

/// The content stream of an artifact.
pub(crate) struct Content<S> {
    chunks: S,
    unread: Bytes,
    /// Whose memory `unread` shares.
    current: Option<Fetched>,
}

impl<S: Stream<Item = Result<Fetched, Error>> + Unpin> Content<S> {
    pub(crate) fn new(chunks: S) -> Self {
        Self {
            chunks,
            unread: Bytes::new(),
            current: None,
        }
    }

    /// The next piece, of at most `limit` bytes.
    pub(crate) async fn piece(&mut self, limit: u64) -> io::Result<Bytes> {
        if self.unread.is_empty() {
            let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the content ended before the last file");
            // Given back before more is asked for: two readers that keep theirs would wait for each other.
            self.current = None;
            let fetched = self.chunks.next().await.ok_or_else(ended)?.map_err(io::Error::other)?;
            self.unread = fetched.chunk.bytes().clone();
            self.current = Some(fetched);
        }
        let length = usize::try_from(limit).unwrap_or(usize::MAX).min(self.unread.len());
        Ok(self.unread.split_to(length))
    }

    pub(super) async fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        while bytes > 0 {
            bytes -= self.piece(bytes).await?.len() as u64;
        }
        Ok(())
    }

    /// Hands so many bytes on, or fewer if no more are wanted.
    pub(super) async fn copy(&mut self, mut bytes: u64, to: &mut Gatherer) -> io::Result<()> {
        while bytes > 0 && !to.is_full() {
            let piece = self.piece(bytes).await?;
            bytes -= piece.len() as u64;
            to.put(piece).await?;
        }
        Ok(())
    }
}

/// Gathers small pieces, and lets only those bytes through that are wanted.
pub(crate) struct Gatherer {
    sink: Sink,
    gathered: BytesMut,
    /// How many bytes are to be left out first.
    before: u64,
    /// How many are wanted then.
    left: u64,
}

impl Gatherer {
    /// Lets everything through.
    pub(crate) fn new(sink: Sink) -> Self {
        Self::part(sink, 0..u64::MAX)
    }

    /// Lets a part of what it is given through.
    pub(super) fn part(sink: Sink, part: Range<u64>) -> Self {
        Self {
            sink,
            gathered: BytesMut::new(),
            before: part.start,
            left: part.end.saturating_sub(part.start),
        }
    }

    /// Whether no more is wanted.
    pub(super) const fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Whether none of the next `bytes` are wanted. Then they must not be given.
    pub(super) fn leaves_out_whole(&mut self, bytes: u64) -> bool {
        let unwanted = self.before >= bytes;
        if unwanted {
            self.before -= bytes;
        }
        unwanted
    }

    /// How many of the next `bytes` are not wanted. They must not be given.
    pub(super) fn leave_out(&mut self, bytes: u64) -> u64 {
        let unwanted = self.before.min(bytes);
        self.before -= unwanted;
        unwanted
    }

    pub(crate) async fn put(&mut self, mut piece: Bytes) -> io::Result<()> {
        let unwanted = self.leave_out(piece.len() as u64);
        piece.advance(usize::try_from(unwanted).unwrap_or(piece.len()));
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        if self.gathered.len() + piece.len() <= GATHERED_BYTES {
            self.gathered.extend_from_slice(&piece);
            return Ok(());
        }
        self.flush().await?;
        if piece.len() <= GATHERED_BYTES {
            self.gathered.extend_from_slice(&piece);
            return Ok(());
        }
        self.sink.send(piece).await.map_err(io::Error::other)
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.sink
            .send(self.gathered.split().freeze())
            .await
            .map_err(io::Error::other)
    }
}
