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
        write_part(
            &shared,
            b"",
            0..u64::MAX,
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
    let span = span_of(&manifest, b"m", 0);
    assert!(span.chunk_count < chunks.len(), "{span:?} of {}", chunks.len());
    let wanted: Vec<_> = chunks[span.first_chunk..][..span.chunk_count].to_vec();
    let body = produced(move |sink| async move {
        write_part(
            &manifest,
            b"m",
            0..u64::MAX,
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
        let body =
            produced(move |sink| write_file(u64::from(range.skip), range.size, futures::stream::iter(wanted), sink));
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
        write_part(
            &manifest,
            b"",
            0..u64::MAX,
            futures::stream::iter(chunks.into_iter().map(fetched)),
            sink,
        )
        .await
    });
    let error = body.try_fold((), |(), _| async { Ok(()) }).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

/// The archive of `folder`, or a part of it, from the chunks that this needs.
async fn archive(manifest: &Manifest, chunks: &[Chunk], folder: &'static [u8], part: Range<u64>) -> Vec<u8> {
    let span = span_of(manifest, folder, part.start);
    let wanted: Vec<_> = chunks[span.first_chunk..][..span.chunk_count].to_vec();
    let manifest = manifest.clone();
    let body = produced(move |sink| async move {
        let chunks = futures::stream::iter(wanted.into_iter().map(fetched));
        write_part(&manifest, folder, part, chunks, sink).await
    });
    read(body).await
}

#[tokio::test]
async fn parts_are_what_the_whole_has_there() {
    let from = tempfile::tempdir().unwrap();
    tree(from.path());
    tree(&from.path().join("m"));
    let (manifest, chunks) = packed(from.path());
    for folder in [b"".as_slice(), b"m", b"empty folder"] {
        let whole = archive(&manifest, &chunks, folder, 0..u64::MAX).await;
        assert_eq!(whole.len() as u64, length(&manifest, folder));
        let end = whole.len();
        let mut cuts: Vec<usize> = (0..end).step_by(end / 23 + 1).collect();
        cuts.extend([1, 511, 512, 513, 1024]);
        cuts.extend(
            [1025, 1024, 512, 1]
                .into_iter()
                .filter_map(|left| end.checked_sub(left)),
        );
        for start in cuts.into_iter().filter(|start| *start < end) {
            for stop in [start + 1, (start + 700_000).min(end), end] {
                let part = archive(&manifest, &chunks, folder, start as u64..stop as u64).await;
                assert!(part == whole[start..stop], "{start}..{stop} of {end}");
            }
        }
    }
    let all = span_of(&manifest, b"", 0).chunk_count;
    let second = span_of(&manifest, b"", length(&manifest, b"") / 2);
    assert!(second.chunk_count < all, "what was sent is not read again");
    assert_eq!(span_of(&manifest, b"", length(&manifest, b"") - 1).chunk_count, 0);
}
