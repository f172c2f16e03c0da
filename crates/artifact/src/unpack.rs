//! Unpacking: from a manifest and chunks to a folder. Nothing that they say is trusted.

mod links;
mod select;
mod sparse;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::chunk::{Chunk, ChunkReference};
use crate::manifest::{Entry, EntryKind, MAXIMUM_CONTENT_BYTES, MAXIMUM_ENTRIES, Manifest};
use crate::path::DisplayPath;
pub use links::links_out;
pub use select::Selection;
use sparse::SparseFile;
use stage::Stage;

/// How many times larger than its distinct chunks an artifact may be by default: the longest chunk so often is 64 GiB, so that
/// a large file of zeros passes, but some kilobytes that were sent cannot become terabytes that are written.
pub const MAXIMUM_REPETITION: u32 = 4_096;

/// Gives the chunks of an artifact, one after the other, as the manifest lists them. It may block.
pub trait ChunkFeed {
    /// The next chunk; `expected` is what it must be.
    fn next_chunk(&mut self, expected: ChunkReference) -> io::Result<Chunk>;
}

/// What an artifact may be at most for this folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Files, folders and links.
    pub entries: u32,
    /// The sum of the sizes of the files, in bytes.
    pub bytes: u64,
    /// The sum of the sizes of the files over the sum of the distinct chunks.
    pub repetition: u32,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries: MAXIMUM_ENTRIES,
            bytes: MAXIMUM_CONTENT_BYTES,
            repetition: MAXIMUM_REPETITION,
        }
    }
}

/// What to do with symbolic links that lead out of the folder. Unpacking itself never follows any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Links {
    /// Such links (absolute ones, and those that leave by `..`, also by way of other links) are refused: whoever reads the
    /// folder stays within it.
    #[default]
    Confined,
    /// They are restored as they were. Only where the reader is not trusted with more than the writer was.
    Verbatim,
}

/// How to unpack.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// What is refused for its size.
    pub limits: UnpackLimits,
    /// What is refused for where it leads.
    pub links: Links,
    /// What is unpacked of it.
    pub select: Selection,
}

/// Why an artifact was not unpacked. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The destination exists and is not an empty folder.
    #[error("{} is not an empty folder", .0.display())]
    Occupied(PathBuf),
    /// The artifact exceeds a limit.
    #[error("the artifact has {found} {what}, the limit is {limit}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How many.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A pattern matches nothing that is in the artifact.
    #[error("nothing in it matches `{0}`")]
    NothingMatches(String),
    /// A symbolic link leads out of the folder.
    #[error("`{path}` is a symbolic link to `{target}`, which leads out of the folder")]
    Link {
        /// The link.
        path: DisplayPath,
        /// What it says.
        target: DisplayPath,
    },
    /// Links refer to each other in a way that would take too long to follow.
    #[error("the symbolic links of the artifact are too tangled to be checked (at `{path}`)")]
    Tangled {
        /// The link that was looked at last.
        path: DisplayPath,
    },
    /// An entry cannot be written.
    #[error("cannot write `{path}`: {source}")]
    Write {
        /// The entry.
        path: DisplayPath,
        /// Why not.
        source: io::Error,
    },
    /// The folder, or its parent, cannot be written.
    #[error("cannot write the folder {}: {source}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A chunk did not come.
    #[error("cannot get chunk {}: {source}", .chunk.digest)]
    Feed {
        /// Which.
        chunk: ChunkReference,
        /// Why not.
        source: io::Error,
    },
    /// Another chunk came than was asked for.
    #[error("chunk {} of {} bytes came instead of {} of {} bytes", .found.digest, .found.length, .expected.digest, .expected.length)]
    WrongChunk {
        /// What was asked for.
        expected: ChunkReference,
        /// What came.
        found: ChunkReference,
    },
}

/// Unpacks into the folder `into`, which may exist but must be empty. All is written to a folder beside it (`.<name>.unpacking`;
/// what an earlier, killed attempt left there is removed first) that takes its place at the end: the folder is there whole or
/// not at all. Memory: one chunk, and what it takes to check the links.
pub fn unpack(
    manifest: &Manifest,
    feed: &mut impl ChunkFeed,
    into: &Path,
    options: UnpackOptions,
) -> Result<(), Error> {
    check_limits(manifest, options.limits)?;
    if options.links == Links::Confined {
        check_links(manifest)?;
    }
    let chosen = options.select.choose(manifest)?;
    let mut stage = Stage::create(into)?;
    let mut content = Content {
        chunks: manifest.chunks(),
        feed,
        rest: Bytes::new(),
    };
    for (index, entry) in manifest.entries().enumerate() {
        match chosen.as_ref().is_none_or(|chosen| chosen[index]) {
            true => restore(&entry, &mut stage, &mut content)?,
            false => content.pass(&entry)?,
        }
    }
    stage.finish()
}

/// Refuses a manifest with a symbolic link that leads out of the folder, as [`unpack`] does with [`Links::Confined`]: who takes
/// an artifact in can say so before anybody waits for it.
pub fn check_links(manifest: &Manifest) -> Result<(), Error> {
    links::check(manifest)
}

fn restore(
    entry: &Entry<'_>,
    stage: &mut Stage,
    content: &mut Content<'_, impl Iterator<Item = ChunkReference>, impl ChunkFeed>,
) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: DisplayPath::new(entry.path.as_slice()),
        source,
    };
    match entry.kind {
        EntryKind::Directory { mode } => stage.directory(entry.depth, entry.name, mode).map_err(failed),
        EntryKind::Symlink { target } => stage.symlink(entry.depth, entry.name, target).map_err(failed),
        EntryKind::File { mode, size, .. } => {
            let file = stage.file(entry.depth, entry.name).map_err(failed)?;
            let mut file = SparseFile::new(file);
            let mut left = size;
            while left > 0 {
                let piece = content.next_piece(left)?;
                file.write(&piece).map_err(failed)?;
                left -= piece.len() as u64;
            }
            let file = file.finish().map_err(failed)?;
            stage::set_mode(&file, mode).map_err(failed)
        }
    }
}

fn check_limits(manifest: &Manifest, limits: UnpackLimits) -> Result<(), Error> {
    let check = |what, found, limit| {
        if found > limit {
            Err(Error::TooLarge { what, found, limit })
        } else {
            Ok(())
        }
    };
    check("entries", u64::from(manifest.entry_count()), u64::from(limits.entries))?;
    check("bytes", manifest.bytes(), limits.bytes)?;
    let distinct: HashSet<ChunkReference> = manifest.chunks().collect();
    let distinct: u64 = distinct.iter().map(|chunk| u64::from(chunk.length)).sum();
    check(
        "bytes of repeated chunks",
        manifest.bytes(),
        distinct.saturating_mul(u64::from(limits.repetition)),
    )
}

/// The content stream, chunk by chunk.
struct Content<'a, Chunks, Feed> {
    chunks: Chunks,
    feed: &'a mut Feed,
    rest: Bytes,
}

impl<Chunks: Iterator<Item = ChunkReference>, Feed: ChunkFeed> Content<'_, Chunks, Feed> {
    /// Leaves the content of an entry out.
    fn pass(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let mut left = match entry.kind {
            EntryKind::File { size, .. } => size,
            EntryKind::Directory { .. } | EntryKind::Symlink { .. } => 0,
        };
        while left > 0 {
            left -= self.next_piece(left)?.len() as u64;
        }
        Ok(())
    }

    /// The next bytes of the stream, at most `longest` of them and at least one.
    fn next_piece(&mut self, longest: u64) -> Result<Bytes, Error> {
        if self.rest.is_empty() {
            let expected = self
                .chunks
                .next()
                .expect("the chunks of a valid manifest hold all of its files");
            let chunk = self.feed.next_chunk(expected).map_err(|source| Error::Feed {
                chunk: expected,
                source,
            })?;
            if chunk.reference() != expected {
                return Err(Error::WrongChunk {
                    expected,
                    found: chunk.reference(),
                });
            }
            self.rest = chunk.bytes().clone();
        }
        let length = longest.min(self.rest.len() as u64) as usize;
        Ok(self.rest.split_to(length))
    }
}
