//! Many small files, and one that is larger than the disk: packed, pulled into another store, and unpacked. Alone in their process,
//! so that the peak of memory is theirs.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // helpers of tests are tests too

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tombolo_artifact::{PackLimits, UnpackOptions};
use tombolo_core::attempt::RouteKind;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_transfer::pull::{
    ChunkSource, ListedChunk, Patience as PullPatience, Puller, Request, Source, SourceError,
};
use tombolo_transfer::store::{Owner, Patience};
use tombolo_transfer::{ChunkStore, StoreLocation};

/// As the program does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PROJECT: ProjectId = ProjectId::from_u128(1);
const FILES: usize = 100_000;
const FILE_BYTES: usize = 1_000;
const SPARSE_BYTES: u64 = 50_000_000_000;
/// What the large file has besides zeros, at its beginning, somewhere, and at its end.
const ISLAND_BYTES: usize = 3_000_001;
/// What no process may pass while it moves an output of any size.
const LIMIT_BYTES: u64 = 160 << 20;
/// Each is given this long: minutes on a machine that does nothing else would be a fault.
const DEADLINE: Duration = Duration::from_secs(300);

/// One at a time: the peak is of the process.
static TURN: Mutex<()> = Mutex::const_new(());

/// Another store, read as a peer would be.
struct Elsewhere {
    store: ChunkStore,
    manifest: Digest,
}

impl ChunkSource for Elsewhere {
    fn manifest(&self) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async {
            let manifest = self.store.get_manifest(PROJECT, self.manifest).await;
            Ok(manifest
                .map_err(|error| SourceError::Missing(error.to_string()))?
                .encoded()
                .clone())
        })
    }

    fn chunk(&self, chunk: ListedChunk) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async move {
            let stored = self.store.get_stored_chunk(PROJECT, chunk.reference).await;
            Ok(stored
                .map_err(|error| SourceError::Missing(error.to_string()))?
                .to_bytes())
        })
    }
}

async fn store(folder: &Path, member: &str) -> ChunkStore {
    let owner = Owner {
        trust_domain: "tombolo.test".to_owned(),
        member: member.to_owned(),
    };
    let location = StoreLocation::local(folder.join(member));
    ChunkStore::open(&location, &owner, Patience::default()).await.unwrap()
}

/// From `folder/source` to `folder/into` by way of two stores; the sizes of the content and of what was moved.
async fn travel(folder: &Path) -> (u64, u64) {
    let (east, west) = (store(folder, "east").await, store(folder, "west").await);
    let began = Instant::now();
    let output = east
        .pack(PROJECT, &folder.join("source"), PackLimits::default())
        .await
        .unwrap();
    let packed = began.elapsed();
    let chunks = Arc::new(Elsewhere {
        store: east,
        manifest: output.manifest,
    });
    let request = Request {
        project: PROJECT,
        manifest: output.manifest,
        sources: vec![Source {
            cluster: None,
            route: RouteKind::Peer,
            chunks,
            observer: None,
        }],
    };
    let puller = Puller::new(west.clone(), PullPatience::default());
    let receipt = puller.pull(request, |_| {}).await.unwrap();
    let pulled = began.elapsed();
    let into = folder.join("into");
    let options = UnpackOptions::default();
    west.unpack(PROJECT, output.manifest, &into, options).await.unwrap();
    let unpacked = began.elapsed();
    // Packed again, what has come is the same artifact.
    let again = west.pack(PROJECT, &into, PackLimits::default()).await.unwrap();
    assert_eq!(again, output);
    println!(
        "{} files, {} MB: packed in {:.1} s, pulled in {:.1} s, unpacked in {:.1} s; peak {} MiB",
        output.files,
        output.bytes / 1_000_000,
        packed.as_secs_f64(),
        (pulled - packed).as_secs_f64(),
        (unpacked - pulled).as_secs_f64(),
        peak() >> 20
    );
    (output.bytes, receipt.progress.moved_bytes)
}

/// The peak of this process's resident memory, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kilobytes << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_small_files() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut content = vec![0; FILE_BYTES];
    for number in 0..FILES {
        let inside = folder
            .path()
            .join(format!("source/{:02x}/{:02x}", number % 251, number % 7));
        if number < 251 * 7 {
            fs::create_dir_all(&inside).unwrap();
        }
        noise.fill(&mut content);
        fs::write(inside.join(number.to_string()), &content).unwrap();
    }
    let (bytes, moved) = timeout(DEADLINE, travel(folder.path())).await.expect("in time");
    assert_eq!(bytes, (FILES * FILE_BYTES) as u64);
    assert!(moved > bytes && moved < bytes + bytes / 10, "{moved} bytes were moved");
    let last = format!("{:02x}/{:02x}/{}", (FILES - 1) % 251, (FILES - 1) % 7, FILES - 1);
    assert_eq!(fs::read(folder.path().join("into").join(last)).unwrap(), content);
    assert!(peak() <= LIMIT_BYTES, "{} MiB", peak() >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_larger_than_the_disk() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("source")).unwrap();
    let file = File::create(folder.path().join("source/disk.image")).unwrap();
    let mut island = vec![0; ISLAND_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut island);
    let places = [0, 20_000_000_123, SPARSE_BYTES - ISLAND_BYTES as u64];
    for place in places {
        file.write_all_at(&island, place).unwrap();
    }
    let (bytes, moved) = timeout(DEADLINE, travel(folder.path())).await.expect("in time");
    assert_eq!(bytes, SPARSE_BYTES);
    assert!(moved < 30_000_000, "{moved} bytes were moved");
    let came = File::open(folder.path().join("into/disk.image")).unwrap();
    let status = came.metadata().unwrap();
    assert_eq!(status.len(), SPARSE_BYTES);
    assert!(
        status.blocks() * 512 < 20_000_000,
        "{} blocks: the holes are gone",
        status.blocks()
    );
    for place in places {
        let mut read = vec![0; ISLAND_BYTES];
        came.read_exact_at(&mut read, place).unwrap();
        assert!(read == island, "at {place}");
    }
    assert!(peak() <= LIMIT_BYTES, "{} MiB", peak() >> 20);
}
