use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use proptest::collection;
use proptest::prelude::{BoxedStrategy, Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest};

use super::{ChunkFeed, Error, Links, Selection, UnpackLimits, UnpackOptions, unpack};
use crate::chunk::{Chunk, ChunkReference};
use crate::manifest::{Builder, Manifest};
use crate::pack::tests::{Memory, noise};
use crate::pack::{PackLimits, pack};
use crate::remove_tree;

/// Gives chunks from memory.
struct Feed(std::vec::IntoIter<Chunk>);

impl Feed {
    fn new(chunks: Vec<Chunk>) -> Self {
        Self(chunks.into_iter())
    }
}

impl ChunkFeed for Feed {
    fn next_chunk(&mut self, _: ChunkReference) -> io::Result<Chunk> {
        self.0.next().ok_or_else(|| io::Error::other("the source vanished"))
    }
}

const VERBATIM: UnpackOptions = UnpackOptions {
    select: Selection::ALL,
    links: Links::Verbatim,
    limits: UnpackLimits {
        entries: u32::MAX,
        bytes: u64::MAX,
        repetition: u32::MAX,
    },
};

fn packed(folder: &Path) -> (Manifest, Vec<Chunk>) {
    let mut memory = Memory::default();
    let manifest = pack(folder, PackLimits::default(), &mut memory).unwrap();
    (manifest, memory.0)
}

/// What is in the folder that holds the destination.
fn left_behind(parent: &Path) -> Vec<String> {
    fs::read_dir(parent)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Symlink(Vec<u8>),
    Folder(BTreeMap<Vec<u8>, Node>, u32),
}

/// Names in any encoding.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'-' } else { byte });
    collection::vec(byte, 1..20).prop_filter("names a folder", |name| !matches!(&name[..], b"." | b".."))
}

/// Any permissions that still let the test read what it wrote without being root.
fn mode(needed: u32) -> impl Strategy<Value = u32> {
    let needed = if rustix::process::geteuid().is_root() {
        0
    } else {
        needed
    };
    (0..=0o777_u32).prop_map(move |mode| mode | needed)
}

fn nodes(depth: u32) -> BoxedStrategy<BTreeMap<Vec<u8>, Node>> {
    let leaf = prop_oneof![
        (collection::vec(any::<u8>(), 0..200), mode(0o400)).prop_map(|(content, mode)| Node::File(content, mode)),
        collection::vec(1..=255_u8, 1..40).prop_map(Node::Symlink),
    ];
    let node = if depth == 0 {
        leaf.boxed()
    } else {
        prop_oneof![3 => leaf, 1 => (nodes(depth - 1), mode(0o500)).prop_map(|(nodes, mode)| Node::Folder(nodes, mode))]
            .boxed()
    };
    prop_oneof![1 => Just(BTreeMap::new()), 4 => collection::btree_map(name(), node, 0..6)].boxed()
}

fn write(nodes: &BTreeMap<Vec<u8>, Node>, folder: &Path) {
    for (name, node) in nodes {
        let path = folder.join(OsStr::from_bytes(name));
        let mode = match node {
            Node::File(content, mode) => {
                fs::write(&path, content).unwrap();
                *mode
            }
            Node::Symlink(target) => {
                symlink(OsStr::from_bytes(target), &path).unwrap();
                continue;
            }
            Node::Folder(nodes, mode) => {
                fs::create_dir(&path).unwrap();
                write(nodes, &path);
                *mode
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// What was packed is unpacked as it was, whatever the names, modes, links and empty things.
    #[test]
    fn packing_what_was_unpacked_gives_the_same_digest(nodes in nodes(3)) {
        let parent = tempfile::tempdir().unwrap();
        let (source, destination) = (parent.path().join("source"), parent.path().join("destination"));
        fs::create_dir(&source).unwrap();
        write(&nodes, &source);
        let (manifest, chunks) = packed(&source);
        unpack(&manifest, &mut Feed::new(chunks), &destination, VERBATIM).unwrap();
        let (again, _) = packed(&destination);
        prop_assert_eq!(again.encoded(), manifest.encoded());
        remove_tree(&source).unwrap();
        remove_tree(&destination).unwrap();
        prop_assert_eq!(left_behind(parent.path()), Vec::<String>::new());
    }
}

#[test]
fn files_of_many_chunks_come_back() {
    let parent = tempfile::tempdir().unwrap();
    let source = parent.path().join("source");
    fs::create_dir(&source).unwrap();
    for (seed, size) in [(1, 9 << 20), (2, 0), (3, 1), (4, 30 << 20), (5, 100)] {
        fs::write(source.join(format!("{seed}")), noise(seed, size)).unwrap();
    }
    let (manifest, chunks) = packed(&source);
    assert!(chunks.len() > 4);
    let destination = parent.path().join("destination");
    fs::create_dir(&destination).unwrap();
    fs::set_permissions(&destination, fs::Permissions::from_mode(0o711)).unwrap();
    unpack(
        &manifest,
        &mut Feed::new(chunks),
        &destination,
        UnpackOptions::default(),
    )
    .unwrap();
    assert_eq!(packed(&destination).0.digest(), manifest.digest());
    assert_eq!(
        fs::metadata(&destination).unwrap().permissions().mode() & 0o777,
        0o711,
        "the folder keeps its mode"
    );
}

/// An ordinary user can unpack, and remove, folders that forbid writing.
#[test]
fn folders_without_write_permission_need_no_superuser() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut builder = Builder::default();
    builder.directory(0, b"locked", 0o500);
    builder.directory(1, b"closed", 0o000);
    builder.file(2, b"empty", 0o444, 0);
    builder.file(1, b"file", 0o000, 0);
    let manifest = builder.finish().unwrap();
    let destination = parent.path().join("destination");
    let worker = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::fs::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        unpack(
            &manifest,
            &mut Feed::new(Vec::new()),
            &destination,
            UnpackOptions::default(),
        )
        .unwrap();
        assert_eq!(
            fs::metadata(destination.join("locked/closed"))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0
        );
        assert!(fs::remove_dir_all(&destination).is_err());
        remove_tree(&destination).unwrap();
        remove_tree(&destination).unwrap();
    });
    worker.join().unwrap();
    assert!(left_behind(parent.path()).is_empty());
}

#[test]
fn links_that_lead_out_are_refused() {
    /// Path and target of each link; folders are made where a path needs them.
    type Tree = &'static [(&'static str, &'static str)];
    let cases: &[(Tree, Option<&str>)] = &[
        (&[("here", "file"), ("self", ".")], None),
        (&[("d/up", ".."), ("d/beside", "../here")], None),
        (&[("d/e/up", "../../d")], None),
        (&[("loop", "loop"), ("one", "other"), ("other", "one")], None),
        (&[("dangling", "not/there")], None),
        (&[("a", "/etc/passwd")], Some("a")),
        (&[("a", "..")], Some("a")),
        (&[("a", "../a")], Some("a")),
        (&[("d/a", "../../x")], Some("d/a")),
        (&[("d/a", "e/../../..")], Some("d/a")),
        (&[("a", "not/there/../../..")], Some("a")),
        // Each stays inside by its text; together they do not.
        (&[("d/e/up", "../.."), ("x", "d/e/up/../y")], Some("x")),
        (
            &[
                ("deep", "d/e"),
                ("d/e/x", "../../deep/../../z/.."),
                ("top", "deep/../../.."),
            ],
            Some("top"),
        ),
        (
            &[("d/e/f/top", "../../.."), ("d/e/f/x", "top/d/../../passwd")],
            Some("d/e/f/x"),
        ),
        (&[("a", "b"), ("b", "c/.."), ("c", "d/../..")], Some("a")),
    ];
    for (links, refused) in cases {
        let parent = tempfile::tempdir().unwrap();
        let source = parent.path().join("source");
        for (path, target) in *links {
            let path = source.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }
        let (manifest, _) = packed(&source);
        let destination = parent.path().join("destination");
        let result = unpack(
            &manifest,
            &mut Feed::new(Vec::new()),
            &destination,
            UnpackOptions::default(),
        );
        match (refused, result) {
            (None, Ok(())) => assert_eq!(packed(&destination).0.digest(), manifest.digest()),
            (Some(expected), Err(Error::Link { path, .. })) => {
                assert_eq!(path.to_string(), *expected);
                assert_eq!(left_behind(parent.path()), ["source"]);
                unpack(&manifest, &mut Feed::new(Vec::new()), &destination, VERBATIM).unwrap();
                assert_eq!(packed(&destination).0.digest(), manifest.digest());
            }
            (_, result) => panic!("{links:?}: {result:?}"),
        }
    }
}

/// A chain of links with 500 detours each, and 100,000 links to its beginning: more than a billion steps.
#[test]
fn tangled_links_are_refused_in_time() {
    let mut builder = Builder::default();
    let detours = "./y/../".repeat(500);
    for number in 0..38 {
        builder.symlink(
            0,
            format!("{number:02}").as_bytes(),
            format!("{detours}{:02}", number + 1).as_bytes(),
        );
    }
    for number in 0..100_000 {
        builder.symlink(0, format!("x{number:06}").as_bytes(), b"00");
    }
    let manifest = builder.finish().unwrap();
    let parent = tempfile::tempdir().unwrap();
    let error = unpack(
        &manifest,
        &mut Feed::new(Vec::new()),
        &parent.path().join("x"),
        UnpackOptions::default(),
    );
    assert!(matches!(error, Err(Error::Tangled { .. })), "{error:?}");
}

fn one_file(content: &[u8]) -> (Manifest, Chunk) {
    let chunk = Chunk::new(Bytes::copy_from_slice(content));
    let mut builder = Builder::default();
    builder.directory(0, b"a", 0o000);
    builder.file(1, b"file", 0o644, content.len() as u64);
    builder.chunk(chunk.reference());
    (builder.finish().unwrap(), chunk)
}

#[test]
fn whatever_fails_leaves_nothing_behind() {
    let (manifest, chunk) = one_file(b"content");
    let other = Chunk::new(Bytes::from_static(b"another"));
    let small = |limits| UnpackOptions {
        limits,
        ..UnpackOptions::default()
    };
    let limits = UnpackLimits::default();
    let cases: &[(&str, Vec<Chunk>, UnpackOptions, &str)] = &[
        ("no chunk", vec![], UnpackOptions::default(), "the source vanished"),
        (
            "another chunk",
            vec![other],
            UnpackOptions::default(),
            "came instead of",
        ),
        (
            "entries",
            vec![],
            small(UnpackLimits { entries: 1, ..limits }),
            "has 2 entries, the limit is 1",
        ),
        (
            "bytes",
            vec![],
            small(UnpackLimits { bytes: 6, ..limits }),
            "has 7 bytes, the limit is 6",
        ),
        (
            "ratio",
            vec![],
            small(UnpackLimits {
                repetition: 0,
                ..limits
            }),
            "7 bytes of repeated chunks",
        ),
    ];
    for (case, chunks, options, message) in cases {
        let parent = tempfile::tempdir().unwrap();
        let destination = parent.path().join("destination");
        let error = unpack(&manifest, &mut Feed::new(chunks.clone()), &destination, options.clone()).expect_err(case);
        assert!(error.to_string().contains(message), "{case}: {error}");
        assert!(left_behind(parent.path()).is_empty(), "{case}");
    }
    let parent = tempfile::tempdir().unwrap();
    let destination = parent.path().join("destination");
    fs::create_dir(parent.path().join(".destination.unpacking")).unwrap();
    fs::write(
        parent.path().join(".destination.unpacking/stale"),
        "of a killed attempt",
    )
    .unwrap();
    unpack(
        &manifest,
        &mut Feed::new(vec![chunk.clone()]),
        &destination,
        UnpackOptions::default(),
    )
    .unwrap();
    assert_eq!(left_behind(parent.path()), ["destination"]);
    assert_eq!(left_behind(&destination), ["a"]);
}

#[test]
fn only_a_fresh_folder_is_written_to() {
    let (manifest, chunk) = one_file(b"content");
    type Prepare = fn(&Path);
    let occupied: &[(&str, Prepare)] = &[
        ("a file", |path| fs::write(path, "mine").unwrap()),
        ("a link", |path| symlink("elsewhere", path).unwrap()),
        ("a folder with something in it", |path| {
            fs::create_dir_all(path.join("mine")).unwrap()
        }),
    ];
    for (case, prepare) in occupied {
        let parent = tempfile::tempdir().unwrap();
        let destination = parent.path().join("destination");
        prepare(&destination);
        let error = unpack(
            &manifest,
            &mut Feed::new(vec![chunk.clone()]),
            &destination,
            UnpackOptions::default(),
        );
        assert!(matches!(error, Err(Error::Occupied(_))), "{case}: {error:?}");
        assert_eq!(left_behind(parent.path()), ["destination"], "{case}");
    }
    let parent = tempfile::tempdir().unwrap();
    let missing = parent.path().join("missing/destination");
    let error = unpack(
        &manifest,
        &mut Feed::new(vec![chunk]),
        &missing,
        UnpackOptions::default(),
    )
    .unwrap_err();
    assert!(matches!(error, Error::Folder { .. }), "{error:?}");
}

/// A name that the file system takes for the same as another's (case) collides at creation instead of going through a link.
#[test]
fn a_name_that_is_taken_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let mut stage = super::stage::Stage::create(&parent.path().join("x")).unwrap();
    stage.symlink(0, b"a", b"/etc").unwrap();
    assert!(stage.directory(0, b"a", 0o755).is_err());
    assert!(stage.file(0, b"a").is_err());
    assert!(stage.symlink(0, b"a", b"y").is_err());
    drop(stage);
    assert!(left_behind(parent.path()).is_empty());
}
