//! The rules of the format, checked on bytes that nobody vouches for.

use bytes::Bytes;

use super::read::{self, CHUNK_BYTES, EntryError, RawEntry, RawKind, Reader};
use super::{
    Error, MAXIMUM_CONTENT_BYTES, MAXIMUM_DEPTH, MAXIMUM_ENTRIES, MAXIMUM_MANIFEST_BYTES, MAXIMUM_PATH_BYTES,
    MAXIMUM_TARGET_BYTES, MODE_BITS, Manifest,
};
use crate::chunk::{MAXIMUM_CHUNK_BYTES, MINIMUM_CHUNK_BYTES};
use crate::digest_of;
use crate::path::DisplayPath;

pub(super) fn validate(encoded: Bytes) -> Result<Manifest, Error> {
    limit("bytes", encoded.len() as u64, u64::from(MAXIMUM_MANIFEST_BYTES))?;
    let mut reader = Reader::at(&encoded, 0);
    let (entry_count, chunk_count) = reader.header()?;
    limit("entries", u64::from(entry_count), u64::from(MAXIMUM_ENTRIES))?;
    let mut tree = Tree::default();
    for index in 0..entry_count {
        let entry = reader.entry().map_err(|error| match error {
            EntryError::Truncated(position) => Error::Truncated(position),
            EntryError::Kind => Error::Entry {
                index,
                path: tree.path_of(b"?"),
                reason: "is of no kind that this program knows",
            },
        })?;
        tree.add(&entry).map_err(|reason| Error::Entry {
            index,
            path: tree.path_of(entry.name),
            reason,
        })?;
    }
    let chunks_at = reader.position();
    let chunks = &encoded[chunks_at..];
    let expected = chunk_count as usize * CHUNK_BYTES;
    if chunks.len() < expected {
        return Err(Error::Truncated(encoded.len()));
    }
    if chunks.len() > expected {
        return Err(Error::TrailingBytes(chunks.len() - expected));
    }
    let content = content_of(chunks)?;
    if content != tree.bytes {
        return Err(Error::ContentSize {
            chunks: content,
            files: tree.bytes,
        });
    }
    let (files, bytes) = (tree.files, tree.bytes);
    Ok(Manifest {
        digest: digest_of(&encoded),
        entry_count,
        chunk_count,
        chunks_at,
        files,
        bytes,
        encoded,
    })
}

fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found > limit {
        Err(Error::TooLarge { what, found, limit })
    } else {
        Ok(())
    }
}

/// The sum of the chunks' lengths.
fn content_of(chunks: &[u8]) -> Result<u64, Error> {
    let count = chunks.len() / CHUNK_BYTES;
    let mut content = 0;
    for (index, record) in chunks.chunks_exact(CHUNK_BYTES).enumerate() {
        let length = read::chunk(record).length;
        let fault = |reason| {
            Err(Error::Chunk {
                index: u32::try_from(index).unwrap_or(u32::MAX),
                reason,
            })
        };
        if length == 0 {
            return fault("is empty");
        }
        if length > MAXIMUM_CHUNK_BYTES {
            return fault("is longer than a chunk may be");
        }
        if length < MINIMUM_CHUNK_BYTES && index + 1 < count {
            return fault("is shorter than a chunk before the last may be");
        }
        content += u64::from(length);
    }
    Ok(content)
}

/// Where in the tree the last entry was.
#[derive(Default)]
struct Tree<'a> {
    /// The names from the top to the last entry.
    names: Vec<&'a [u8]>,
    /// Whether entries may follow below the last one.
    open: bool,
    files: u64,
    bytes: u64,
}

impl<'a> Tree<'a> {
    fn add(&mut self, entry: &RawEntry<'a>) -> Result<(), &'static str> {
        check_name(entry.name)?;
        if entry.depth >= MAXIMUM_DEPTH {
            return Err("lies deeper than folders may nest");
        }
        if entry.depth > self.names.len() || entry.depth == self.names.len() && !self.open && !self.names.is_empty() {
            return Err("does not lie in a folder of the manifest");
        }
        if self
            .names
            .get(entry.depth)
            .is_some_and(|previous| *previous >= entry.name)
        {
            return Err("is out of order or occurs twice");
        }
        self.names.truncate(entry.depth);
        if self.names.iter().map(|name| name.len() + 1).sum::<usize>() + entry.name.len() > MAXIMUM_PATH_BYTES {
            return Err("has a path that is too long");
        }
        self.names.push(entry.name);
        self.open = matches!(entry.kind, RawKind::Directory { .. });
        match entry.kind {
            RawKind::Directory { mode } | RawKind::File { mode, .. } if mode & !MODE_BITS != 0 => {
                return Err("has mode bits other than permissions");
            }
            RawKind::Directory { .. } => {}
            RawKind::File { size, .. } => {
                self.files += 1;
                self.bytes = self
                    .bytes
                    .checked_add(size)
                    .filter(|bytes| *bytes <= MAXIMUM_CONTENT_BYTES)
                    .ok_or("makes the artifact larger than one may be")?;
            }
            RawKind::Symlink { target } => check_target(target)?,
        }
        Ok(())
    }

    /// The path of an entry beside the last one: near enough for a message.
    fn path_of(&self, name: &[u8]) -> DisplayPath {
        let folders = self.names.len().saturating_sub(usize::from(!self.open));
        let mut path = self.names[..folders].join(&b'/');
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        DisplayPath::new(path)
    }
}

fn check_name(name: &[u8]) -> Result<(), &'static str> {
    match name {
        b"" => Err("has an empty name"),
        b"." | b".." => Err("has a name that stands for another folder"),
        _ if name.contains(&b'/') => Err("has a name with a slash"),
        _ if name.contains(&0) => Err("has a name with a NUL byte"),
        _ => Ok(()),
    }
}

fn check_target(target: &[u8]) -> Result<(), &'static str> {
    match target {
        b"" => Err("is a link to nothing"),
        _ if target.contains(&0) => Err("is a link whose target has a NUL byte"),
        _ if target.len() > MAXIMUM_TARGET_BYTES => Err("is a link whose target is too long"),
        _ => Ok(()),
    }
}
