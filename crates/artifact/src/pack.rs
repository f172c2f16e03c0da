//! Packing: from a folder to a manifest and chunks.

mod cut;
#[cfg(test)]
pub(crate) mod tests;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use crate::chunk::BorrowedChunk;
use crate::manifest::{self, Builder, MAXIMUM_CONTENT_BYTES, MAXIMUM_ENTRIES, Manifest};
use crate::path::DisplayPath;
use cut::Cutter;
use walk::{Found, Walk};

/// Takes the chunks of an artifact in the order of its content, the same chunk as often as it occurs. It may block: that is
/// how a slow store slows the packer down instead of filling the memory. An error ends the packing.
pub trait ChunkSink {
    /// Takes one chunk.
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> io::Result<()>;
}

/// What an artifact may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackLimits {
    /// Files, folders and links; never more than [`MAXIMUM_ENTRIES`].
    pub entries: u32,
    /// The sum of the sizes of the files, in bytes; never more than [`MAXIMUM_CONTENT_BYTES`].
    pub bytes: u64,
}

impl Default for PackLimits {
    fn default() -> Self {
        Self {
            entries: MAXIMUM_ENTRIES,
            bytes: MAXIMUM_CONTENT_BYTES,
        }
    }
}

/// Why a folder cannot be packed. Each message names the entry and the reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder itself cannot be opened.
    #[error("cannot open the folder {}: {source}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An entry cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// Its path within the folder.
        path: DisplayPath,
        /// Why not.
        source: io::Error,
    },
    /// An entry is a socket, a device or the like.
    #[error("`{path}` is {kind}: only files, folders and symbolic links can be stored")]
    Unsupported {
        /// Its path within the folder.
        path: DisplayPath,
        /// What it is.
        kind: &'static str,
    },
    /// A path, or the target of a link, is longer than an artifact can hold.
    #[error("`{path}` has a {what} of {length} bytes, the limit is {limit}")]
    TooLong {
        /// Its path within the folder.
        path: DisplayPath,
        /// What is too long.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Folders nest too deeply.
    #[error("`{path}` lies {limit} folders deep or deeper")]
    TooDeep {
        /// Its path within the folder.
        path: DisplayPath,
        /// How deep folders may nest.
        limit: usize,
    },
    /// There is more than the artifact may hold.
    #[error("the folder has more than {limit} {what} (reached at `{path}`)")]
    TooMuch {
        /// Where the limit was reached.
        path: DisplayPath,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// A file was written to while it was read.
    #[error("`{path}` changed while it was read: {change}")]
    Changed {
        /// Its path within the folder.
        path: DisplayPath,
        /// How.
        change: &'static str,
    },
    /// A chunk could not be handed on.
    #[error("cannot store a chunk: {0}")]
    Sink(#[source] io::Error),
    /// The folder makes a manifest that no reader would take.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
}

/// Packs what is in `folder` (not the folder itself), following no symbolic link. The same content gives the same manifest,
/// wherever and whenever it is packed: owners, times and hard links do not count. Memory: one chunk of the longest kind and
/// the manifest, whatever the size of the files.
pub fn pack(folder: &Path, limits: PackLimits, sink: &mut impl ChunkSink) -> Result<Manifest, Error> {
    pack_selected(folder, limits, |_| true, sink)
}

/// As [`pack`], but only what is selected by its path within the folder. What lies in a folder that is not selected is left
/// out with it, and is not even looked at.
pub fn pack_selected(
    folder: &Path,
    limits: PackLimits,
    mut selected: impl FnMut(&[u8]) -> bool,
    sink: &mut impl ChunkSink,
) -> Result<Manifest, Error> {
    let mut builder = Builder::default();
    let mut cutter = Cutter::new(sink);
    let mut bytes = 0_u64;
    let mut walk = Walk::open(folder, limits.entries.min(MAXIMUM_ENTRIES))?;
    while let Some(found) = walk.next_entry(&mut selected)? {
        match found {
            Found::Directory { mode } => builder.directory(walk.depth(), walk.name(), mode),
            Found::Symlink { target } => builder.symlink(walk.depth(), walk.name(), &target),
            Found::File { mode, mut file } => {
                bytes = bytes.saturating_add(file.size());
                let limit = limits.bytes.min(MAXIMUM_CONTENT_BYTES);
                if bytes > limit {
                    return Err(walk.too_much("bytes", limit));
                }
                builder.file(walk.depth(), walk.name(), mode, file.size());
                file.read_into(&mut cutter, &mut builder)
                    .map_err(|fault| fault.at(walk.path()))?;
            }
        }
        if !builder.fits() {
            return Err(walk.too_much("bytes of manifest", u64::from(manifest::MAXIMUM_MANIFEST_BYTES)));
        }
    }
    cutter.finish(&mut builder).map_err(Error::Sink)?;
    Ok(builder.finish()?)
}
