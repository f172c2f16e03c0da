//! One suite on every kind of store, and faults on one of them.

mod azurite;
mod conformance;
mod embedded;
mod examine;
mod faults;
pub(crate) mod faulty;
mod gcs;
mod locations;
mod place;
mod proxy;
mod seaweed;
mod signing;
mod weather;

use std::io;
use std::path::Path;

use bytes::Bytes;
use tombolo_artifact::{BorrowedChunk, Chunk, ChunkSink, Manifest, PackLimits, StoredChunk};
use tombolo_core::id::ProjectId;

use super::{ChunkStore, Owner, Patience, StoreLocation};

pub(crate) const PROJECT: ProjectId = ProjectId::from_u128(7);

pub(crate) fn owner(member: &str) -> Owner {
    Owner {
        trust_domain: "tombolo.test".to_owned(),
        member: member.to_owned(),
    }
}

/// A store in a folder.
pub(crate) async fn local_store(folder: &Path) -> ChunkStore {
    ChunkStore::open(&StoreLocation::local(folder), &owner("east"), Patience::default())
        .await
        .unwrap()
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

pub(crate) fn chunk(content: &[u8]) -> (Chunk, StoredChunk) {
    let chunk = Chunk::new(Bytes::copy_from_slice(content));
    let stored = StoredChunk::encode(&chunk);
    (chunk, stored)
}

/// The manifest of a folder, whose chunks go nowhere.
pub(crate) fn manifest_of(folder: &Path) -> Manifest {
    struct Nowhere;
    impl ChunkSink for Nowhere {
        fn chunk(&mut self, _: BorrowedChunk<'_>) -> io::Result<()> {
            Ok(())
        }
    }
    tombolo_artifact::pack(folder, PackLimits::default(), &mut Nowhere).unwrap()
}

/// The size of the file of some chunks.
pub(crate) const LARGE_BYTES: usize = 16 << 20;

/// A folder with small files and one of some chunks.
pub(crate) fn example_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("deep/empty")).unwrap();
    std::fs::write(folder.path().join("deep/large"), noise(1, LARGE_BYTES)).unwrap();
    std::fs::write(folder.path().join("text"), "all work and no play ".repeat(100_000)).unwrap();
    std::os::unix::fs::symlink("text", folder.path().join("link")).unwrap();
    folder
}
