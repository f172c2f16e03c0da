//! Writes a manifest.

use super::read::{CHUNK_BYTES, DIRECTORY, FILE, HEADER_BYTES, MAGIC, SYMLINK, VERSION};
use super::{Error, MAXIMUM_MANIFEST_BYTES, Manifest};
use crate::chunk::ChunkReference;

/// Collects the entries and chunks of a manifest in their order. Names, depths and targets must be within the format's limits.
#[derive(Default)]
pub(crate) struct Builder {
    entry_count: u32,
    entries: Vec<u8>,
    chunks: Vec<u8>,
}

impl Builder {
    pub(crate) fn directory(&mut self, depth: usize, name: &[u8], mode: u16) {
        self.entry(DIRECTORY, depth, name);
        self.entries.extend_from_slice(&mode.to_le_bytes());
    }

    pub(crate) fn file(&mut self, depth: usize, name: &[u8], mode: u16, size: u64) {
        self.entry(FILE, depth, name);
        self.entries.extend_from_slice(&mode.to_le_bytes());
        self.entries.extend_from_slice(&size.to_le_bytes());
    }

    pub(crate) fn symlink(&mut self, depth: usize, name: &[u8], target: &[u8]) {
        self.entry(SYMLINK, depth, name);
        self.entries.extend_from_slice(&(target.len() as u16).to_le_bytes());
        self.entries.extend_from_slice(target);
    }

    pub(crate) fn chunk(&mut self, chunk: ChunkReference) {
        self.chunks.extend_from_slice(&chunk.length.to_le_bytes());
        self.chunks.extend_from_slice(chunk.digest.as_bytes());
    }

    /// Whether what was added so far still fits into a manifest.
    pub(crate) fn fits(&self) -> bool {
        self.encoded_bytes() <= MAXIMUM_MANIFEST_BYTES as usize
    }

    /// The manifest, checked by the same rules as one that came from outside.
    pub(crate) fn finish(self) -> Result<Manifest, Error> {
        let mut encoded = Vec::with_capacity(self.encoded_bytes());
        encoded.extend_from_slice(MAGIC);
        encoded.push(VERSION);
        encoded.extend_from_slice(&self.entry_count.to_le_bytes());
        encoded.extend_from_slice(&((self.chunks.len() / CHUNK_BYTES) as u32).to_le_bytes());
        encoded.extend_from_slice(&self.entries);
        encoded.extend_from_slice(&self.chunks);
        Manifest::decode(encoded.into())
    }

    /// The packer keeps depths, names and targets within the limits of the format, so that every number fits its field.
    fn entry(&mut self, kind: u8, depth: usize, name: &[u8]) {
        self.entry_count += 1;
        self.entries.push(kind);
        self.entries.extend_from_slice(&(depth as u16).to_le_bytes());
        self.entries.push(name.len() as u8);
        self.entries.extend_from_slice(name);
    }

    fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.entries.len() + self.chunks.len()
    }
}
