//! What a process that packs and unpacks takes. Alone in its process, so that the peak is its own.

use std::fs::File;
use std::io::Write;

use tombolo_artifact::{PackLimits, UnpackOptions};
use tombolo_core::id::ProjectId;
use tombolo_transfer::store::{Owner, Patience};
use tombolo_transfer::{ChunkStore, StoreLocation};

/// As the program does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Several times what may be in memory.
const FILE_BYTES: u64 = 640 << 20;
/// Measured: 100 to 130 MiB. The limit is what a process may take while it moves an output of any size.
const LIMIT_BYTES: u64 = 160 << 20;

/// The peak of this process's resident memory, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says it there");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("the peak is always given");
    line.split_whitespace()
        .nth(1)
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
        .expect("in kilobytes")
        << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let mut file = File::create(source.join("large")).unwrap();
    let mut noise = blake3::Hasher::new().finalize_xof();
    let mut block = vec![0; 1 << 20];
    for number in 0..FILE_BYTES >> 20 {
        // A third compresses well, so that both ways of storing are taken, and chunks of the longest kind come up.
        if number % 96 < 64 {
            noise.fill(&mut block);
        } else {
            block.fill(7);
        }
        file.write_all(&block).unwrap();
    }
    drop(file);

    let owner = Owner {
        trust_domain: "tombolo.test".to_owned(),
        member: "east".to_owned(),
    };
    let location = StoreLocation::local(folder.path().join("store"));
    let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
    let project = ProjectId::from_u128(1);
    let output = store.pack(project, &source, PackLimits::default()).await.unwrap();
    assert_eq!(output.bytes, FILE_BYTES);
    let packed = peak();
    let into = folder.path().join("into");
    store
        .unpack(project, output.manifest, &into, UnpackOptions::default())
        .await
        .unwrap();
    assert_eq!(std::fs::metadata(into.join("large")).unwrap().len(), FILE_BYTES);
    let unpacked = peak();
    println!(
        "peak after packing {} MiB, after unpacking {} MiB",
        packed >> 20,
        unpacked >> 20
    );
    assert!(
        unpacked < LIMIT_BYTES,
        "{packed} bytes after packing, {unpacked} after unpacking"
    );
}
