use bytes::Bytes;
use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::{collection, option};

use super::{Builder, Entry, EntryKind, Error, Manifest};
use crate::chunk::{ChunkReference, MAXIMUM_CHUNK_BYTES, MINIMUM_CHUNK_BYTES};
use crate::digest_of;

fn chunk(length: u32) -> ChunkReference {
    ChunkReference {
        digest: digest_of(&length.to_le_bytes()),
        length,
    }
}

/// A folder `a` with a file, a link and an empty folder, and a file beside it.
fn example() -> Manifest {
    let mut builder = Builder::default();
    builder.directory(0, b"a", 0o750);
    builder.directory(1, b"empty", 0o700);
    builder.file(1, b"file", 0o644, 3 << 20);
    builder.symlink(1, b"link", b"../b");
    builder.file(0, b"b", 0o600, 0);
    builder.file(0, b"\xff", 0o444, 1_000);
    builder.chunk(chunk(2 << 20));
    builder.chunk(chunk((1 << 20) + 1_000));
    builder.finish().unwrap()
}

#[test]
fn entries_and_chunks_come_back() {
    let manifest = Manifest::decode(example().encoded().clone()).unwrap();
    let entries: Vec<_> = manifest
        .entries()
        .map(|Entry { path, kind, .. }| (path, kind))
        .collect();
    assert_eq!(
        entries,
        [
            (b"a".to_vec(), EntryKind::Directory { mode: 0o750 }),
            (b"a/empty".to_vec(), EntryKind::Directory { mode: 0o700 }),
            (
                b"a/file".to_vec(),
                EntryKind::File {
                    mode: 0o644,
                    size: 3 << 20,
                    offset: 0
                }
            ),
            (b"a/link".to_vec(), EntryKind::Symlink { target: b"../b" }),
            (
                b"b".to_vec(),
                EntryKind::File {
                    mode: 0o600,
                    size: 0,
                    offset: 3 << 20
                }
            ),
            (
                b"\xff".to_vec(),
                EntryKind::File {
                    mode: 0o444,
                    size: 1_000,
                    offset: 3 << 20
                }
            ),
        ]
    );
    assert_eq!(
        manifest.chunks().collect::<Vec<_>>(),
        [chunk(2 << 20), chunk((1 << 20) + 1_000)]
    );
    assert_eq!((manifest.files(), manifest.bytes()), (3, (3 << 20) + 1_000));
    assert_eq!(manifest.digest(), digest_of(manifest.encoded()));
}

/// The identity of an output must never change by accident: every store is full of them.
#[test]
fn the_encoding_is_pinned() {
    assert_eq!(
        Builder::default().finish().unwrap().encoded()[..],
        *b"TOMBOLO\x01\0\0\0\0\0\0\0\0"
    );
    assert_eq!(
        example().digest().to_string(),
        "b8d7a8835617380f138ae0664b11503ac7b8bf4fb6ffb1b7a281f5915abdadbe",
        "see docs/adr/0002-artifact-format.md: a change of the encoding is a new version"
    );
}

#[test]
fn files_are_found_in_chunks() {
    let manifest = example();
    let range = |path: &[u8]| {
        manifest
            .range(path)
            .map(|range| (range.size, range.first_chunk, range.skip, range.chunk_count))
    };
    for (path, expected) in [
        (&b"a/file"[..], Some((3 << 20, 0, 0, 2))),
        (b"\xff", Some((1_000, 1, 1 << 20, 1))),
        (b"b", Some((0, 0, 0, 0))),
        (b"a", None),
        (b"a/link", None),
        (b"missing", None),
    ] {
        assert_eq!(range(path), expected, "{path:?}");
    }
    let part = |offset, size| {
        let range = manifest.span(offset, size);
        (range.size, range.first_chunk, range.skip, range.chunk_count)
    };
    assert_eq!(part(2 << 20, 1), (1, 1, 0, 1));
    assert_eq!(part((2 << 20) - 1, 2), (2, 0, (2 << 20) - 1, 2));
    assert_eq!(part(manifest.bytes() - 1, 100), (1, 1, (1 << 20) + 999, 1));
    assert_eq!(part(manifest.bytes() + 1, 100), (0, 0, 0, 0));
}

#[test]
fn what_lies_in_a_folder() {
    let manifest = example();
    let paths = |folder: &[u8]| -> Vec<Vec<u8>> {
        let entries = manifest.entries().filter(|entry| entry.lies_in(folder));
        entries.map(|entry| entry.path).collect()
    };
    assert_eq!(paths(b"").len(), manifest.entry_count() as usize);
    assert_eq!(paths(b"a"), [&b"a"[..], b"a/empty", b"a/file", b"a/link"]);
    assert_eq!(paths(b"a/file"), [b"a/file"]);
    assert!(paths(b"a/fil").is_empty());
}

/// Writes an entry without any check.
fn raw(kind: u8, depth: u16, name: &[u8], body: &[u8]) -> Vec<u8> {
    [&[kind][..], &depth.to_le_bytes(), &[name.len() as u8], name, body].concat()
}

fn folder(depth: u16, name: &[u8]) -> Vec<u8> {
    raw(1, depth, name, &0o755_u16.to_le_bytes())
}

fn file(depth: u16, name: &[u8], size: u64) -> Vec<u8> {
    raw(
        2,
        depth,
        name,
        &[&0o644_u16.to_le_bytes()[..], &size.to_le_bytes()].concat(),
    )
}

fn link(depth: u16, name: &[u8], target: &[u8]) -> Vec<u8> {
    raw(
        3,
        depth,
        name,
        &[&(target.len() as u16).to_le_bytes()[..], target].concat(),
    )
}

fn encode(entries: &[Vec<u8>], chunks: &[ChunkReference]) -> Vec<u8> {
    let mut encoded = b"TOMBOLO\x01".to_vec();
    encoded.extend((entries.len() as u32).to_le_bytes());
    encoded.extend((chunks.len() as u32).to_le_bytes());
    encoded.extend(entries.concat());
    for chunk in chunks {
        encoded.extend(chunk.length.to_le_bytes());
        encoded.extend(chunk.digest.as_bytes());
    }
    encoded
}

/// Encodes the entries of each case and looks for the words in the refusal.
fn check_refusals(cases: &[(&str, &[Vec<u8>], &str)]) {
    for (case, entries, message) in cases {
        let error = Manifest::decode(encode(entries, &[]).into()).expect_err(case);
        assert!(error.to_string().contains(message), "{case}: {error}");
    }
}

#[test]
fn hostile_names_are_refused() {
    check_refusals(&[
        ("empty name", &[folder(0, b"")], "empty name"),
        ("dot", &[folder(0, b".")], "stands for another folder"),
        ("dot dot", &[folder(0, b"..")], "stands for another folder"),
        (
            "dot dot below",
            &[folder(0, b"a"), file(1, b"..", 0)],
            "stands for another folder",
        ),
        ("absolute", &[file(0, b"/etc/passwd", 0)], "slash"),
        ("climbing", &[file(0, b"a/../../x", 0)], "slash"),
        ("trailing slash", &[folder(0, b"a/")], "slash"),
        ("NUL", &[file(0, b"a\0b", 0)], "NUL"),
    ]);
}

#[test]
fn hostile_trees_are_refused() {
    let deep: Vec<_> = (0..300).map(|depth| folder(depth, b"d")).collect();
    let long: Vec<_> = (0..20).map(|depth| folder(depth, &[b'n'; 255])).collect();
    let huge: Vec<_> = [b"a", b"b"].map(|name| file(0, name, 1 << 50)).into();
    check_refusals(&[
        (
            "twice",
            &[file(0, b"a", 0), file(0, b"a", 0)],
            "out of order or occurs twice",
        ),
        (
            "twice, once a link",
            &[link(0, b"a", b"/etc"), folder(0, b"a")],
            "out of order or occurs twice",
        ),
        (
            "twice, far apart",
            &[folder(0, b"a"), file(1, b"x", 0), folder(0, b"a")],
            "out of order or occurs twice",
        ),
        (
            "unsorted",
            &[file(0, b"b", 0), file(0, b"a", 0)],
            "out of order or occurs twice",
        ),
        (
            "below a file",
            &[file(0, b"a", 0), file(1, b"x", 0)],
            "does not lie in a folder",
        ),
        (
            "below a link",
            &[link(0, b"a", b"/etc"), file(1, b"x", 0)],
            "does not lie in a folder",
        ),
        ("without a folder", &[file(1, b"x", 0)], "does not lie in a folder"),
        (
            "two levels at once",
            &[folder(0, b"a"), file(2, b"x", 0)],
            "does not lie in a folder",
        ),
        ("too deep", &deep, "deeper than"),
        ("too long", &long, "too long"),
        ("setuid", &[raw(1, 0, b"a", &0o4755_u16.to_le_bytes())], "mode bits"),
        ("device", &[raw(4, 0, b"a", &[0, 0])], "no kind"),
        ("link to nothing", &[link(0, b"a", b"")], "link to nothing"),
        ("link with NUL", &[link(0, b"a", b"x\0")], "NUL"),
        ("link too long", &[link(0, b"a", &[b'x'; 4_096])], "too long"),
        ("too large", &huge, "larger than one may be"),
        (
            "overflow",
            &[file(0, b"a", u64::MAX), file(0, b"b", 2)],
            "larger than one may be",
        ),
        (
            "content without chunks",
            &[file(0, b"a", 1)],
            "hold 0 bytes, its files 1",
        ),
    ]);
}

#[test]
fn hostile_chunk_lists_are_refused() {
    let size = u64::from(MINIMUM_CHUNK_BYTES);
    let cases: &[(&str, u64, &[u32], &str)] = &[
        (
            "too few bytes",
            size + 1,
            &[MINIMUM_CHUNK_BYTES],
            "hold 1048576 bytes, its files 1048577",
        ),
        ("too many bytes", 1, &[2], "hold 2 bytes, its files 1"),
        ("chunks without files", 0, &[1], "hold 1 bytes, its files 0"),
        ("an empty chunk", 0, &[0], "is empty"),
        (
            "a long chunk",
            u64::from(MAXIMUM_CHUNK_BYTES) + 1,
            &[MAXIMUM_CHUNK_BYTES + 1],
            "longer than",
        ),
        ("many small chunks", 3, &[1, 1, 1], "shorter than"),
    ];
    for (case, size, lengths, message) in cases {
        let chunks: Vec<_> = lengths.iter().copied().map(chunk).collect();
        let error = Manifest::decode(encode(&[file(0, b"a", *size)], &chunks).into()).expect_err(case);
        assert!(error.to_string().contains(message), "{case}: {error}");
    }
}

#[test]
fn other_bytes_are_refused() {
    let whole = example().encoded().to_vec();
    let changed = |position: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[position] = byte;
        bytes
    };
    let cases: &[(&str, Vec<u8>, Error)] = &[
        ("nothing", Vec::new(), Error::Magic),
        ("something else", b"PK\x03\x04 is a zip archive".to_vec(), Error::Magic),
        ("a newer version", changed(7, 2), Error::Version(2)),
        ("trailing bytes", [&whole[..], b"x"].concat(), Error::TrailingBytes(1)),
        (
            "too many entries",
            changed(11, 0xff),
            Error::TooLarge {
                what: "entries",
                found: 0xff00_0006,
                limit: 500_000,
            },
        ),
        (
            "too many bytes",
            vec![0; (32 << 20) + 1],
            Error::TooLarge {
                what: "bytes",
                found: (32 << 20) + 1,
                limit: 32 << 20,
            },
        ),
    ];
    for (case, bytes, error) in cases {
        assert_eq!(Manifest::decode(bytes.clone().into()).as_ref(), Err(error), "{case}");
    }
    for length in 0..whole.len() {
        assert!(
            Manifest::decode(Bytes::copy_from_slice(&whole[..length])).is_err(),
            "cut at {length}"
        );
    }
}

proptest! {
    /// Whatever the bytes: an error or a manifest that encodes to the same bytes, never a panic.
    #[test]
    fn decoding_never_panics(
        entries in collection::vec((0_u8..5, 0_u16..4, collection::vec(any::<u8>(), 0..4), any::<u8>()), 0..8),
        flip in option::of((any::<proptest::sample::Index>(), any::<u8>())),
    ) {
        let entries: Vec<_> = entries.iter().map(|(kind, depth, name, byte)| match kind {
            1 => folder(*depth, name),
            2 => file(*depth, name, u64::from(*byte)),
            3 => link(*depth, name, &[*byte]),
            kind => raw(*kind, *depth, name, &[*byte; 4]),
        }).collect();
        let mut encoded = encode(&entries, &[chunk(4)]);
        if let Some((position, byte)) = flip {
            let position = position.index(encoded.len());
            encoded[position] = byte;
        }
        if let Ok(manifest) = Manifest::decode(encoded.clone().into()) {
            prop_assert_eq!(&manifest.encoded()[..], &encoded[..]);
            prop_assert_eq!(manifest.entries().count(), manifest.entry_count() as usize);
            prop_assert_eq!(manifest.chunks().map(|chunk| u64::from(chunk.length)).sum::<u64>(), manifest.bytes());
        }
    }
}
