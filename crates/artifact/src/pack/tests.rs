use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

use super::{ChunkSink, Error, PackLimits, pack};
use crate::chunk::{BorrowedChunk, Chunk, MAXIMUM_CHUNK_BYTES, MINIMUM_CHUNK_BYTES};
use crate::manifest::Manifest;

/// Keeps all chunks in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) Vec<Chunk>);

impl ChunkSink for Memory {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()> {
        self.0.push(chunk.to_chunk());
        Ok(())
    }
}

fn packed(folder: &Path) -> Result<Manifest, Error> {
    pack(folder, PackLimits::default(), &mut Memory::default())
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

#[test]
fn entries_come_depth_first_and_the_result_does_not_depend_on_history() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = ["a/x", "a-b", "a.txt", "b/c/d", "ä"];
    for name in files {
        let path = one.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    for name in files.iter().rev() {
        let path = other.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "earlier").unwrap();
        fs::write(path, name).unwrap();
    }
    fs::hard_link(one.path().join("ä"), one.path().join("hard")).unwrap();
    fs::write(other.path().join("hard"), "ä").unwrap();
    let manifest = packed(one.path()).unwrap();
    let paths: Vec<_> = manifest
        .entries()
        .map(|entry| String::from_utf8(entry.path).unwrap())
        .collect();
    assert_eq!(paths, ["a", "a/x", "a-b", "a.txt", "b", "b/c", "b/c/d", "hard", "ä"]);
    assert_eq!(manifest.digest(), packed(other.path()).unwrap().digest());
    fs::set_permissions(one.path().join("a-b"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_ne!(manifest.digest(), packed(one.path()).unwrap().digest(), "a mode counts");
}

/// Content that moves within the stream is cut at the same places again: one inserted byte costs about one chunk.
#[test]
fn cuts_follow_the_content() {
    let folder = tempfile::tempdir().unwrap();
    let content = noise(1, 40 << 20);
    fs::write(folder.path().join("b"), &content).unwrap();
    let mut before = Memory::default();
    let manifest = pack(folder.path(), PackLimits::default(), &mut before).unwrap();
    assert_eq!(manifest.bytes(), 40 << 20);
    assert!(before.0.len() >= 5, "{} chunks", before.0.len());
    for (index, chunk) in before.0.iter().enumerate() {
        assert!(chunk.reference().length <= MAXIMUM_CHUNK_BYTES);
        assert!(chunk.reference().length >= MINIMUM_CHUNK_BYTES || index + 1 == before.0.len());
    }
    assert_eq!(
        before
            .0
            .iter()
            .flat_map(|chunk| chunk.bytes().to_vec())
            .collect::<Vec<_>>(),
        content
    );

    fs::write(folder.path().join("a"), "x").unwrap();
    let mut after = Memory::default();
    pack(folder.path(), PackLimits::default(), &mut after).unwrap();
    let known: Vec<_> = before.0.iter().map(Chunk::reference).collect();
    let new = after
        .0
        .iter()
        .filter(|chunk| !known.contains(&chunk.reference()))
        .count();
    assert!(new <= 2, "{new} new chunks for one byte");
}

#[test]
fn what_cannot_be_packed_is_named() {
    type Prepare = fn(&Path);
    let cases: &[(&str, Prepare, &str)] = &[
        (
            "a socket",
            |folder| drop(std::os::unix::net::UnixListener::bind(folder.join("run.sock")).unwrap()),
            "`run.sock` is a socket: only files, folders and symbolic links can be stored",
        ),
        (
            "a named pipe",
            |folder| {
                let kind = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(CWD, folder.join("pipe"), kind, Mode::RWXU, 0).unwrap();
            },
            "`pipe` is a named pipe",
        ),
        (
            "a path of 5,000 bytes",
            |folder| {
                let mut here = openat(CWD, folder, OFlags::DIRECTORY, Mode::empty()).unwrap();
                for _ in 0..20 {
                    let name = "n".repeat(249);
                    mkdirat(&here, &name, Mode::RWXU).unwrap();
                    here = openat(&here, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
                }
            },
            "has a path of 4249 bytes, the limit is 4095",
        ),
        (
            "too deep",
            |folder| fs::create_dir_all(folder.join("d/".repeat(300))).unwrap(),
            "lies 256 folders deep or deeper",
        ),
    ];
    for (case, prepare, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let error = packed(folder.path()).expect_err(case);
        assert!(error.to_string().contains(message), "{case}: {error}");
        crate::remove_tree(folder.path()).unwrap();
    }
    let error = packed(Path::new("/no/such/folder")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot open the folder /no/such/folder: No such file"),
        "{error}"
    );
}

/// Tests run as root, who may read everything: this one gives that up in a thread of its own.
#[test]
fn an_unreadable_file_is_named() {
    for (name, mode, is_folder) in [
        ("file", 0o000, false),
        ("folder", 0o300, true),
        ("no-entry", 0o600, true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join(name);
        if is_folder {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("x"), "").unwrap();
        } else {
            fs::write(&path, "secret").unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let path = folder.path().to_owned();
        let packer = std::thread::spawn(move || {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::fs::Uid::from_raw(65_534);
                std::os::unix::fs::chown(path.join(name), Some(65_534), None).unwrap();
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            packed(&path)
        });
        let error = packer.join().unwrap().expect_err(name);
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("cannot read `{name}")) && message.contains("Permission denied"),
            "{message}"
        );
    }
}

/// A sink that lets the test change a file while it is read.
struct Meddler<'a> {
    meddle: Option<Box<dyn FnOnce() + 'a>>,
}

impl ChunkSink for Meddler<'_> {
    fn chunk(&mut self, _: BorrowedChunk<'_>) -> io::Result<()> {
        if let Some(meddle) = self.meddle.take() {
            meddle();
        }
        Ok(())
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named() {
    type Meddle = fn(&Path);
    let cases: &[(Meddle, &str)] = &[
        (
            |path| {
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(17 << 20)
                    .unwrap()
            },
            "it became shorter",
        ),
        (
            |path| {
                File::options()
                    .append(true)
                    .open(path)
                    .unwrap()
                    .write_all(b"x")
                    .unwrap()
            },
            "it became longer",
        ),
        (
            |path| File::options().write(true).open(path).unwrap().write_all(b"x").unwrap(),
            "it was written to",
        ),
    ];
    for (meddle, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, noise(2, 20 << 20)).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH;
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        let mut sink = Meddler {
            meddle: Some(Box::new(|| meddle(&path))),
        };
        let error = pack(folder.path(), PackLimits::default(), &mut sink).unwrap_err();
        assert_eq!(error.to_string(), format!("`log` changed while it was read: {message}"));
    }
}

#[test]
fn limits_and_sink_errors_end_the_packing() {
    struct Full;
    impl ChunkSink for Full {
        fn chunk(&mut self, _: BorrowedChunk<'_>) -> io::Result<()> {
            Err(io::Error::other("the store is full"))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(folder.path().join(name), "1234").unwrap();
    }
    let error = pack(folder.path(), PackLimits::default(), &mut Full).unwrap_err();
    assert_eq!(error.to_string(), "cannot store a chunk: the store is full");
    for (limits, message) in [
        (
            PackLimits {
                entries: 2,
                ..PackLimits::default()
            },
            "more than 2 entries",
        ),
        (
            PackLimits {
                bytes: 11,
                ..PackLimits::default()
            },
            "more than 11 bytes (reached at `c`)",
        ),
    ] {
        let error = pack(folder.path(), limits, &mut Memory::default()).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn links_are_never_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(outside.path(), folder.path().join("folder")).unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    symlink(std::ffi::OsStr::from_bytes(b"\xfe"), folder.path().join("strange")).unwrap();
    let manifest = packed(folder.path()).unwrap();
    assert_eq!((manifest.entry_count(), manifest.files(), manifest.bytes()), (3, 0, 0));
}

#[test]
fn what_is_not_selected_is_left_out_unseen() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("target/deep")).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    for name in ["src/a", "src/b.log", "target/deep/c", "z"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    // What could not be packed does no harm where it is not selected.
    std::os::unix::net::UnixListener::bind(folder.path().join("target/socket")).unwrap();
    let selected = |path: &[u8]| path != b"target" && !path.ends_with(b".log");
    let manifest =
        super::pack_selected(folder.path(), PackLimits::default(), selected, &mut Memory::default()).unwrap();
    let paths: Vec<_> = manifest
        .entries()
        .map(|entry| String::from_utf8_lossy(&entry.path).into_owned())
        .collect();
    assert_eq!(paths, ["src", "src/a", "z"]);
}

/// The identity of a file must not depend on whether the file system knows its holes, nor on how fast they are passed over.
#[test]
fn holes_are_packed_as_the_zeros_that_they_stand_for() {
    let longest = MAXIMUM_CHUNK_BYTES as usize;
    let zeros = vec![0; longest];
    let cutter = fastcdc::v2020::FastCDC::new(&zeros, 1 << 20, 4 << 20, longest);
    assert_eq!(cutter.cut(0, longest).1, longest, "zeros are not cut");
    let (sparse, dense) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = [
        noise(1, 3 << 20),
        vec![0; 5 * longest + 77],
        noise(2, 100),
        vec![0; 2 * longest],
    ]
    .concat();
    fs::write(dense.path().join("file"), &content).unwrap();
    let file = File::create(sparse.path().join("file")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content[..3 << 20], 0).unwrap();
    let second = (3 << 20) + 5 * longest + 77;
    std::os::unix::fs::FileExt::write_all_at(&file, &content[second..second + 100], second as u64).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for folder in [&sparse, &dense] {
        fs::write(folder.path().join("next"), "what follows is where it belongs").unwrap();
    }
    let mut chunks = Memory::default();
    let manifest = pack(sparse.path(), PackLimits::default(), &mut chunks).unwrap();
    assert_eq!(manifest, packed(dense.path()).unwrap());
    let mut stream = Vec::new();
    for (chunk, listed) in chunks.0.iter().zip(manifest.chunks()) {
        assert_eq!(Chunk::new(chunk.bytes().clone()).reference(), listed);
        stream.extend_from_slice(chunk.bytes());
    }
    assert!(stream[..content.len()] == content);
}
