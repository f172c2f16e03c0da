//! An output as a tar archive, written while it is read: the entries of the manifest are in the order of the content, so that
//! every chunk is needed once. The same output makes the same archive, byte by byte, so that a part of it can be asked for.

mod flow;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::Stream;
use tar::{EntryType, Header};
use tombolo_artifact::manifest::{Entry, EntryKind};
use tombolo_artifact::{FileRange, Manifest};

pub(crate) use self::flow::{Content, Gatherer};
use super::{Error, Fetched, Output};
use crate::rest::Sink;

/// The unit of the format: headers are one, contents are filled up to it.
const BLOCK_BYTES: usize = 512;

/// Two blocks of zeros: the end.
const END: Bytes = Bytes::from_static(&[0; 2 * BLOCK_BYTES]);

/// The longest name that fits into a header.
const NAME_BYTES: usize = 100;

/// What the format calls an entry that only carries a long name.
const LONG_LINK: &[u8] = b"././@LongLink";

/// Changes whenever the same output makes another archive: parts of two do not fit together.
pub(crate) const VERSION: u32 = 1;

/// Writes a part of the archive of what is in the folder `folder` of an output, with names relative to it; of everything if that is empty.
/// Only the chunks that this needs are read.
pub(crate) async fn write(output: &Output, folder: &[u8], part: Range<u64>, sink: Sink) -> io::Result<()> {
    let span = span_of(&output.manifest, folder, part.start);
    let chunks = output.chunks(span.first_chunk, span.chunk_count);
    write_part(&output.manifest, folder, part, chunks, sink).await
}

/// The size of that archive, in bytes.
pub(crate) fn length(manifest: &Manifest, folder: &[u8]) -> u64 {
    let entries =
        entries(manifest, folder).map(|(name, entry)| header_bytes(name, &entry) + filled(content_bytes(&entry)));
    entries.sum::<u64>() + END.len() as u64
}

/// Where the contents are that the archive has from `start` on: side by side, since entries come depth first.
fn span_of(manifest: &Manifest, folder: &[u8], start: u64) -> FileRange {
    let (mut first, mut size, mut position) = (None, 0, 0);
    for (name, entry) in entries(manifest, folder) {
        position += header_bytes(name, &entry);
        if let EntryKind::File {
            size: bytes, offset, ..
        } = entry.kind
        {
            let unwanted = start.saturating_sub(position).min(bytes);
            if unwanted < bytes {
                first.get_or_insert(offset + unwanted);
                size += bytes - unwanted;
            }
            position += filled(bytes);
        }
    }
    manifest.span(first.unwrap_or(0), size)
}

/// What is in a folder, with its name in the archive.
fn entries<'a>(manifest: &'a Manifest, folder: &'a [u8]) -> impl Iterator<Item = (Range<usize>, Entry<'a>)> {
    let prefix = if folder.is_empty() { 0 } else { folder.len() + 1 };
    manifest
        .entries()
        .filter(move |entry| entry.lies_in(folder) && entry.path != folder)
        .map(move |entry| (prefix..entry.path.len(), entry))
}

/// Owners and times are not kept by artifacts: they are 0.
async fn write_part(
    manifest: &Manifest,
    folder: &[u8],
    part: Range<u64>,
    chunks: impl Stream<Item = Result<Fetched, Error>> + Unpin,
    sink: Sink,
) -> io::Result<()> {
    let mut content = Content::new(chunks);
    content
        .skip(u64::from(span_of(manifest, folder, part.start).skip))
        .await?;
    let mut archive = Gatherer::part(sink, part);
    for (name, entry) in entries(manifest, folder) {
        let size = content_bytes(&entry);
        if archive.leaves_out_whole(header_bytes(name.clone(), &entry) + filled(size)) {
            // Before a late part of a large archive are very many.
            tokio::task::coop::consume_budget().await;
            continue;
        }
        archive.headers(&entry.path[name], &entry).await?;
        let unwanted = archive.leave_out(size);
        content.copy(size - unwanted, &mut archive).await?;
        archive.fill(size).await?;
        if archive.is_full() {
            break;
        }
    }
    archive.put(END).await?;
    archive.flush().await
}

/// Writes one file: `skip` bytes into the first of its chunks, `size` bytes long.
pub(crate) async fn write_file(
    skip: u64,
    size: u64,
    chunks: impl Stream<Item = Result<Fetched, Error>> + Unpin,
    sink: Sink,
) -> io::Result<()> {
    let mut content = Content::new(chunks);
    content.skip(skip).await?;
    let mut file = Gatherer::new(sink);
    content.copy(size, &mut file).await?;
    file.flush().await
}

const fn content_bytes(entry: &Entry<'_>) -> u64 {
    match entry.kind {
        EntryKind::File { size, .. } => size,
        EntryKind::Directory { .. } | EntryKind::Symlink { .. } => 0,
    }
}

/// So many bytes, filled up to whole blocks.
const fn filled(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES as u64)
}

/// What an entry takes before its content.
fn header_bytes(name: Range<usize>, entry: &Entry<'_>) -> u64 {
    let (name, target) = match entry.kind {
        EntryKind::Directory { .. } => (name.len() + 1, 0),
        EntryKind::File { .. } => (name.len(), 0),
        EntryKind::Symlink { target } => (name.len(), target.len()),
    };
    let carrier = |length: usize| match length > NAME_BYTES {
        true => BLOCK_BYTES as u64 + filled(length as u64 + 1),
        false => 0,
    };
    carrier(name) + carrier(target) + BLOCK_BYTES as u64
}

impl Gatherer {
    /// All that comes before an entry's content.
    async fn headers(&mut self, name: &[u8], entry: &Entry<'_>) -> io::Result<()> {
        match entry.kind {
            EntryKind::Directory { mode } => {
                self.header(&[name, b"/"].concat(), EntryType::Directory, mode, 0, b"")
                    .await
            }
            EntryKind::Symlink { target } => self.header(name, EntryType::Symlink, 0o777, 0, target).await,
            EntryKind::File { mode, size, .. } => self.header(name, EntryType::Regular, mode, size, b"").await,
        }
    }

    async fn header(&mut self, path: &[u8], kind: EntryType, mode: u16, size: u64, target: &[u8]) -> io::Result<()> {
        for (name, carrier) in [(path, EntryType::GNULongName), (target, EntryType::GNULongLink)] {
            if name.len() > NAME_BYTES {
                let length = name.len() as u64 + 1;
                self.put(header(LONG_LINK, carrier, 0, length, b"")).await?;
                self.put(Bytes::from([name, b"\0"].concat())).await?;
                self.fill(length).await?;
            }
        }
        self.put(header(path, kind, mode, size, target)).await
    }

    /// Fills up to a whole block after `size` bytes.
    async fn fill(&mut self, size: u64) -> io::Result<()> {
        let missing = usize::try_from(filled(size) - size).unwrap_or_default();
        self.put(END.slice(..missing)).await
    }
}

/// One header. Names that are too long are cut: an entry before carries them.
fn header(path: &[u8], kind: EntryType, mode: u16, size: u64, target: &[u8]) -> Bytes {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(u32::from(mode));
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    let fields = header.as_old_mut();
    copy_name(&mut fields.name, path);
    copy_name(&mut fields.linkname, target);
    header.set_cksum();
    Bytes::copy_from_slice(header.as_bytes())
}

fn copy_name(field: &mut [u8; NAME_BYTES], name: &[u8]) {
    let length = name.len().min(NAME_BYTES);
    field[..length].copy_from_slice(&name[..length]);
}
