//! An output as a tar archive, written while it is read: the entries of the manifest are in the order of the content, so that
//! every chunk is needed once.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use tar::{EntryType, Header};
use tombolo_artifact::manifest::EntryKind;
use tombolo_artifact::{FileRange, Manifest};

use super::{Error, Fetched, Output};
use crate::rest::Sink;

/// The unit of the format: headers are one, contents are filled up to it.
const BLOCK_BYTES: usize = 512;

/// Small pieces are gathered up to this size: a header each would be a write each.
const GATHERED_BYTES: usize = 64 * 1024;

/// The longest name that fits into a header.
const NAME_BYTES: usize = 100;

/// What the format calls an entry that only carries a long name.
const LONG_LINK: &[u8] = b"././@LongLink";

/// Writes what is in the folder `folder` of an output, with names relative to it; everything if that is empty. Only the chunks
/// that this needs are read.
pub(crate) async fn write(output: &Output, folder: &[u8], sink: Sink) -> io::Result<()> {
    let span = span_of(&output.manifest, folder);
    let chunks = output.chunks(span.first_chunk, span.chunk_count);
    write_folder(&output.manifest, folder, chunks, sink).await
}

/// Where the contents of all files in a folder are: side by side, since entries come depth first.
fn span_of(manifest: &Manifest, folder: &[u8]) -> FileRange {
    let mut files = manifest
        .entries()
        .filter(|entry| entry.lies_in(folder))
        .filter_map(|entry| match entry.kind {
            EntryKind::File { size, offset, .. } => Some((offset, size)),
            EntryKind::Directory { .. } | EntryKind::Symlink { .. } => None,
        });
    let (offset, size) = files.next().unwrap_or((0, 0));
    manifest.span(offset, size + files.map(|(_, size)| size).sum::<u64>())
}

/// Owners and times are not kept by artifacts: they are 0.
async fn write_folder(
    manifest: &Manifest,
    folder: &[u8],
    chunks: impl Stream<Item = Result<Fetched, Error>> + Unpin,
    sink: Sink,
) -> io::Result<()> {
    let mut content = Content::new(chunks);
    content.skip(u64::from(span_of(manifest, folder).skip)).await?;
    let mut archive = Gatherer::new(sink);
    let in_folder = manifest
        .entries()
        .filter(|entry| entry.lies_in(folder) && entry.path != folder);
    let prefix = if folder.is_empty() { 0 } else { folder.len() + 1 };
    for entry in in_folder {
        let path = &entry.path[prefix..];
        match entry.kind {
            EntryKind::Directory { mode } => {
                let path = [path, b"/"].concat();
                archive.header(&path, EntryType::Directory, mode, 0, b"").await?;
            }
            EntryKind::Symlink { target } => {
                archive.header(path, EntryType::Symlink, 0o777, 0, target).await?;
            }
            EntryKind::File { mode, size, .. } => {
                archive.header(path, EntryType::Regular, mode, size, b"").await?;
                content.copy(size, &mut archive).await?;
                archive.fill(size).await?;
            }
        }
    }
    archive.put(Bytes::from_static(&[0; 2 * BLOCK_BYTES])).await?;
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

/// The content stream of an artifact.
pub(super) struct Content<S> {
    chunks: S,
    unread: Bytes,
    /// Whose memory `unread` shares.
    current: Option<Fetched>,
}

impl<S: Stream<Item = Result<Fetched, Error>> + Unpin> Content<S> {
    pub(super) fn new(chunks: S) -> Self {
        Self {
            chunks,
            unread: Bytes::new(),
            current: None,
        }
    }

    /// The next piece, of at most `limit` bytes.
    pub(super) async fn piece(&mut self, limit: u64) -> io::Result<Bytes> {
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

    async fn skip(&mut self, mut bytes: u64) -> io::Result<()> {
        while bytes > 0 {
            bytes -= self.piece(bytes).await?.len() as u64;
        }
        Ok(())
    }

    async fn copy(&mut self, mut bytes: u64, to: &mut Gatherer) -> io::Result<()> {
        while bytes > 0 {
            let piece = self.piece(bytes).await?;
            bytes -= piece.len() as u64;
            to.put(piece).await?;
        }
        Ok(())
    }
}

/// Gathers small pieces.
pub(super) struct Gatherer {
    sink: Sink,
    gathered: BytesMut,
}

impl Gatherer {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            sink,
            gathered: BytesMut::new(),
        }
    }

    pub(super) async fn put(&mut self, piece: Bytes) -> io::Result<()> {
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

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.sink
            .send(self.gathered.split().freeze())
            .await
            .map_err(io::Error::other)
    }

    /// Fills up to a whole block after `size` bytes.
    async fn fill(&mut self, size: u64) -> io::Result<()> {
        static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
        let over = (size % BLOCK_BYTES as u64) as usize;
        if over > 0 {
            self.put(Bytes::from_static(&ZEROS[over..])).await?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use futures::TryStreamExt;
    use tombolo_artifact::{BorrowedChunk, Chunk, ChunkSink, PackLimits, pack};

    use super::*;
    use crate::rest::produced;

    #[allow(clippy::unnecessary_wraps)] // what a stream gives
    fn fetched(chunk: Chunk) -> Result<Fetched, Error> {
        Ok(Fetched { chunk, _share: None })
    }

    #[derive(Default)]
    struct Chunks(Vec<Chunk>);

    impl ChunkSink for Chunks {
        fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()> {
            self.0.push(chunk.to_chunk());
            Ok(())
        }
    }

    fn packed(folder: &Path) -> (Manifest, Vec<Chunk>) {
        let mut chunks = Chunks::default();
        let manifest = pack(folder, PackLimits::default(), &mut chunks).unwrap();
        (manifest, chunks.0)
    }

    async fn read(body: crate::rest::Produced) -> Vec<u8> {
        body.try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .unwrap()
    }

    fn tree(folder: &Path) {
        let long = "l".repeat(120);
        std::fs::create_dir_all(folder.join("empty folder")).unwrap();
        std::fs::create_dir_all(folder.join(&long)).unwrap();
        std::fs::write(folder.join("a"), b"").unwrap();
        std::fs::write(folder.join("exact"), vec![7; BLOCK_BYTES]).unwrap();
        std::fs::write(
            folder.join("large"),
            (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>(),
        )
        .unwrap();
        std::fs::write(folder.join(&long).join("deep"), b"x").unwrap();
        std::fs::write(folder.join(OsStr::from_bytes(b"not \xff UTF-8")), b"bytes").unwrap();
        std::fs::set_permissions(folder.join("exact"), std::fs::Permissions::from_mode(0o751)).unwrap();
        symlink(format!("{long}/deep"), folder.join("link")).unwrap();
    }

    #[tokio::test]
    async fn the_archive_holds_what_the_folder_held() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(from.path());
        let (manifest, chunks) = packed(from.path());
        let shared = manifest.clone();
        let body = produced(move |sink| async move {
            write_folder(
                &shared,
                b"",
                futures::stream::iter(chunks.into_iter().map(fetched)),
                sink,
            )
            .await
        });
        let bytes = read(body).await;
        tar::Archive::new(&bytes[..]).unpack(to.path()).unwrap();
        assert_eq!(
            packed(to.path()).0.digest(),
            manifest.digest(),
            "packed again, it is the same artifact"
        );
    }

    #[tokio::test]
    async fn a_folder_needs_its_own_chunks_only() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        tree(from.path());
        let folder = from.path().join("m");
        tree(&folder);
        let (manifest, chunks) = packed(from.path());
        let span = span_of(&manifest, b"m");
        assert!(span.chunk_count < chunks.len(), "{span:?} of {}", chunks.len());
        let wanted: Vec<_> = chunks[span.first_chunk..][..span.chunk_count].to_vec();
        let body = produced(move |sink| async move {
            write_folder(
                &manifest,
                b"m",
                futures::stream::iter(wanted.into_iter().map(fetched)),
                sink,
            )
            .await
        });
        let bytes = read(body).await;
        tar::Archive::new(&bytes[..]).unpack(to.path()).unwrap();
        assert_eq!(packed(to.path()).0.digest(), packed(&folder).0.digest());
    }

    #[tokio::test]
    async fn one_file_is_its_content() {
        let folder = tempfile::tempdir().unwrap();
        tree(folder.path());
        let (manifest, chunks) = packed(folder.path());
        for (path, expected) in [
            ("large", std::fs::read(folder.path().join("large")).unwrap()),
            ("a", Vec::new()),
        ] {
            let range = manifest.range(path.as_bytes()).unwrap();
            let wanted: Vec<_> = chunks[range.first_chunk..][..range.chunk_count]
                .iter()
                .cloned()
                .map(fetched)
                .collect();
            let body = produced(move |sink| {
                write_file(u64::from(range.skip), range.size, futures::stream::iter(wanted), sink)
            });
            assert!(read(body).await == expected, "{path}");
        }
    }

    #[tokio::test]
    async fn a_content_that_ends_early_breaks_the_archive_off() {
        let folder = tempfile::tempdir().unwrap();
        tree(folder.path());
        let (manifest, mut chunks) = packed(folder.path());
        chunks.pop();
        let body = produced(move |sink| async move {
            write_folder(
                &manifest,
                b"",
                futures::stream::iter(chunks.into_iter().map(fetched)),
                sink,
            )
            .await
        });
        let error = body.try_fold((), |(), _| async { Ok(()) }).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
