//! The SHA-256 sums of an output's files, made while its content is read.

use std::io;

use bytes::Bytes;
use futures::Stream;
use ring::digest::{Context, SHA256};
use tombolo_artifact::manifest::EntryKind;
use tombolo_artifact::{Manifest, sums};

use super::archive::{Content, Gatherer};
use super::{Error, Fetched};
use crate::rest::Sink;

/// Longer pieces take milliseconds: not on a thread that serves connections.
const AT_ONCE_BYTES: usize = 64 * 1024;

/// Writes a line for each file, in the order of the manifest.
pub(crate) async fn write(
    manifest: &Manifest,
    chunks: impl Stream<Item = Result<Fetched, Error>> + Unpin,
    sink: Sink,
) -> io::Result<()> {
    let mut content = Content::new(chunks);
    let mut lines = Gatherer::new(sink);
    for entry in manifest.entries() {
        let EntryKind::File { size, .. } = entry.kind else {
            continue;
        };
        let mut sum = Context::new(&SHA256);
        let mut left = size;
        while left > 0 {
            let piece = content.piece(left).await?;
            left -= piece.len() as u64;
            sum = update(sum, piece).await?;
        }
        lines.put(sums::line(sum.finish().as_ref(), &entry.path).into()).await?;
    }
    lines.flush().await
}

async fn update(mut sum: Context, piece: Bytes) -> io::Result<Context> {
    if piece.len() <= AT_ONCE_BYTES {
        sum.update(&piece);
        return Ok(sum);
    }
    let updated = tokio::task::spawn_blocking(move || {
        sum.update(&piece);
        sum
    });
    updated.await.map_err(io::Error::other)
}
