//! Manifests: what is in an artifact. The encoding is canonical, so that the digest of its bytes is the artifact's identity.
//!
//! ```text
//! manifest = "TOMBOLO" version:u8=1 entries:u32 chunks:u32 entry* chunk*      all numbers little-endian
//! entry    = kind:u8 depth:u16 name-length:u8 name body                       depth 0 is the artifact's top folder
//! body     = mode:u16                    kind 1, a folder
//!          | mode:u16 size:u64           kind 2, a file; contents follow each other in the content stream
//!          | target-length:u16 target    kind 3, a symbolic link
//! chunk    = length:u32 digest:[u8; 32]  of the uncompressed content, in the order of the content stream
//! ```
//!
//! Entries come depth first, a folder before what is in it, names of one folder in ascending order of their bytes. A path is
//! spelled by depth and name, so that `..`, absolute paths, and entries below a file or a link cannot even be written down.

mod build;
mod read;
#[cfg(test)]
mod tests;
mod validate;

use bytes::Bytes;
use tombolo_core::attempt::OutputReference;
use tombolo_core::digest::Digest;

use crate::chunk::ChunkReference;
use crate::path::DisplayPath;

pub(crate) use build::Builder;
use read::{CHUNK_BYTES, HEADER_BYTES, RawKind, Reader};

/// The most entries of an artifact: five times what large monorepo builds leave behind.
pub const MAXIMUM_ENTRIES: u32 = 500_000;
/// The longest encoded manifest, in bytes: it is the one thing that is held whole in memory. Enough for the most entries at
/// about 50 bytes each, and for a terabyte in chunks of average size.
pub const MAXIMUM_MANIFEST_BYTES: u32 = 32 << 20;
/// The longest path, in bytes: Linux' own `PATH_MAX` less the terminating NUL.
pub const MAXIMUM_PATH_BYTES: usize = 4_095;
/// The longest name of one entry, in bytes: Linux' `NAME_MAX`.
pub const MAXIMUM_NAME_BYTES: usize = 255;
/// The longest target of a symbolic link, in bytes.
pub const MAXIMUM_TARGET_BYTES: usize = 4_095;
/// How deep folders may nest: packing and unpacking hold one open file for each level.
pub const MAXIMUM_DEPTH: usize = 256;
/// The most content, in bytes: keeps every sum far from overflow (1 PiB).
pub const MAXIMUM_CONTENT_BYTES: u64 = 1 << 50;
/// The bits of a mode that an artifact keeps.
pub const MODE_BITS: u16 = 0o777;

/// Bytes that are not a manifest. Whoever wrote them cannot be trusted: packing never makes such bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not a manifest at all.
    #[error("the data is not a manifest")]
    Magic,
    /// A newer program wrote it.
    #[error("the manifest has version {0}, this program reads version 1")]
    Version(u8),
    /// It ends within a field.
    #[error("the manifest ends early, at byte {0}")]
    Truncated(usize),
    /// Something follows its end.
    #[error("the manifest has {0} bytes too many")]
    TrailingBytes(usize),
    /// It is larger than any artifact may be.
    #[error("the manifest has {found} {what}, more than {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// The named limit.
        limit: u64,
    },
    /// One of its entries breaks a rule.
    #[error("entry {index} of the manifest (`{path}`): {reason}")]
    Entry {
        /// Which, from 0.
        index: u32,
        /// Its path, as far as it is known.
        path: DisplayPath,
        /// The rule.
        reason: &'static str,
    },
    /// One of its chunks breaks a rule.
    #[error("chunk {index} of the manifest: {reason}")]
    Chunk {
        /// Which, from 0.
        index: u32,
        /// The rule.
        reason: &'static str,
    },
    /// The chunks do not make up the files.
    #[error("the chunks of the manifest hold {chunks} bytes, its files {files}")]
    ContentSize {
        /// The sum of the lengths of the chunks.
        chunks: u64,
        /// The sum of the sizes of the files.
        files: u64,
    },
}

/// What is in an artifact. A value of this type satisfies every rule of the format.
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    encoded: Bytes,
    digest: Digest,
    entry_count: u32,
    chunk_count: u32,
    chunks_at: usize,
    files: u64,
    bytes: u64,
}

/// One entry of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path from the artifact's top, components separated by `/`; any bytes but NUL.
    pub path: Vec<u8>,
    /// How many folders it lies in.
    pub depth: usize,
    /// Its own name.
    pub name: &'a [u8],
    /// What it is.
    pub kind: EntryKind<'a>,
}

impl Entry<'_> {
    /// Whether it is what is at `path`, or lies in that folder; everything lies in the empty path.
    pub fn lies_in(&self, path: &[u8]) -> bool {
        match self.path.strip_prefix(path) {
            Some(rest) => path.is_empty() || rest.is_empty() || rest.starts_with(b"/"),
            None => false,
        }
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'a> {
    /// A folder.
    Directory {
        /// Its permission bits.
        mode: u16,
    },
    /// A regular file.
    File {
        /// Its permission bits.
        mode: u16,
        /// Its size, in bytes.
        size: u64,
        /// Where its content begins in the content stream.
        offset: u64,
    },
    /// A symbolic link.
    Symlink {
        /// What it says; any bytes but NUL.
        target: &'a [u8],
    },
}

/// Where a part of the content stream is: one file's content, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileRange {
    /// Its size, in bytes.
    pub size: u64,
    /// The index of the chunk that its first byte is in.
    pub first_chunk: usize,
    /// How many bytes of that chunk come before it.
    pub skip: u32,
    /// How many chunks it touches; 0 if it is empty.
    pub chunk_count: usize,
}

impl Manifest {
    /// Reads and checks a manifest that came from anywhere. The bytes are shared, not copied.
    pub fn decode(encoded: Bytes) -> Result<Self, Error> {
        validate::validate(encoded)
    }

    /// Its encoding, whose digest is [`Self::digest`].
    pub fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// The artifact's identity.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The artifact as the rest of the program refers to it.
    pub fn reference(&self) -> OutputReference {
        OutputReference {
            manifest: self.digest,
            bytes: self.bytes,
            files: self.files,
        }
    }

    /// How many files, folders and links there are.
    pub fn entry_count(&self) -> u32 {
        self.entry_count
    }

    /// How many chunks there are, each counted as often as it occurs.
    pub fn chunk_count(&self) -> u32 {
        self.chunk_count
    }

    /// How many regular files there are.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// The sum of the sizes of the files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entries, depth first.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut reader = Reader::at(&self.encoded[..self.chunks_at], HEADER_BYTES);
        let mut path = Vec::new();
        let mut folders = Vec::new();
        let mut offset = 0;
        (0..self.entry_count).map(move |_| {
            let raw = reader.entry().expect("a manifest was validated when it was made");
            folders.truncate(raw.depth);
            path.truncate(folders.last().copied().unwrap_or(0));
            path.extend_from_slice(raw.name);
            let kind = match raw.kind {
                RawKind::Directory { mode } => EntryKind::Directory { mode },
                RawKind::File { mode, size } => {
                    offset += size;
                    EntryKind::File {
                        mode,
                        size,
                        offset: offset - size,
                    }
                }
                RawKind::Symlink { target } => EntryKind::Symlink { target },
            };
            let entry = Entry {
                path: path.clone(),
                depth: raw.depth,
                name: raw.name,
                kind,
            };
            path.push(b'/');
            folders.push(path.len());
            entry
        })
    }

    /// The chunks in the order of the content stream; a chunk that occurs twice comes twice.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = ChunkReference> {
        self.encoded[self.chunks_at..]
            .chunks_exact(CHUNK_BYTES)
            .map(read::chunk)
    }

    /// The entry at `path`.
    pub fn entry(&self, path: &[u8]) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.path == path)
    }

    /// Where the content of the file at `path` is; `None` if there is no such file.
    pub fn range(&self, path: &[u8]) -> Option<FileRange> {
        match self.entry(path)?.kind {
            EntryKind::File { size, offset, .. } => Some(self.span(offset, size)),
            EntryKind::Directory { .. } | EntryKind::Symlink { .. } => None,
        }
    }

    /// Where `size` bytes of the content stream are, from `offset` on. What lies beyond its end is left out.
    pub fn span(&self, offset: u64, size: u64) -> FileRange {
        let offset = offset.min(self.bytes);
        let size = size.min(self.bytes - offset);
        let mut range = FileRange {
            size,
            first_chunk: 0,
            skip: 0,
            chunk_count: 0,
        };
        let mut position = 0;
        for (index, chunk) in self.chunks().enumerate() {
            if size == 0 || position >= offset + size {
                break;
            }
            let end = position + u64::from(chunk.length);
            if end > offset {
                if range.chunk_count == 0 {
                    range.first_chunk = index;
                    range.skip = u32::try_from(offset - position).expect("the content begins within this chunk");
                }
                range.chunk_count += 1;
            }
            position = end;
        }
        range
    }
}

impl std::fmt::Debug for Manifest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Manifest")
            .field("digest", &self.digest)
            .field("entries", &self.entry_count)
            .field("chunks", &self.chunk_count)
            .field("bytes", &self.bytes)
            .finish()
    }
}
