//! Content-addressed outputs: pack, chunk, manifest, unpack.
//!
//! A folder becomes a [`Manifest`] (what is in it) and chunks (the contents of its files, as one stream that is cut where
//! the content says so). The digest of the manifest names the folder. Everything here is synchronous; who moves chunks
//! over a network brings a [`ChunkSink`] or a [`ChunkFeed`].

pub mod chunk;
pub mod manifest;
pub mod pack;
pub mod path;
pub mod remove;
pub mod sums;
pub mod unpack;
mod zeros;

pub use chunk::{BorrowedChunk, Chunk, ChunkReference, StoredChunk};
pub use manifest::{Entry, EntryKind, FileRange, Manifest};
pub use pack::{ChunkSink, PackLimits, pack, pack_selected};
pub use path::DisplayPath;
pub use remove::remove_tree;
pub use unpack::{ChunkFeed, Links, Selection, UnpackLimits, UnpackOptions, check_links, links_out, unpack};

use tombolo_core::digest::Digest;

/// The digest of some bytes, as all names of chunks and manifests are made.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::new(*blake3::hash(bytes).as_bytes())
}
