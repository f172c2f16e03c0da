//! The fields of an encoded manifest.

use tombolo_core::digest::Digest;

use super::Error;
use crate::chunk::ChunkReference;

pub(super) const MAGIC: &[u8; 7] = b"TOMBOLO";
pub(super) const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = MAGIC.len() + 1 + 4 + 4;
pub(super) const CHUNK_BYTES: usize = 4 + 32;

pub(super) const DIRECTORY: u8 = 1;
pub(super) const FILE: u8 = 2;
pub(super) const SYMLINK: u8 = 3;

/// An entry as it is written, its fields not yet checked against each other.
pub(super) struct RawEntry<'a> {
    pub(super) depth: usize,
    pub(super) name: &'a [u8],
    pub(super) kind: RawKind<'a>,
}

pub(super) enum RawKind<'a> {
    Directory { mode: u16 },
    File { mode: u16, size: u64 },
    Symlink { target: &'a [u8] },
}

/// Why an entry could not be read.
#[derive(Debug)]
pub(super) enum EntryError {
    Truncated(usize),
    Kind,
}

/// A position in encoded bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn at(bytes: &'a [u8], position: usize) -> Self {
        Self { bytes, position }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn header(&mut self) -> Result<(u32, u32), Error> {
        if self.take(MAGIC.len()).map_err(|_| Error::Magic)? != MAGIC {
            return Err(Error::Magic);
        }
        let version = self.array::<1>().map_err(Error::Truncated)?[0];
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let entries = u32::from_le_bytes(self.array().map_err(Error::Truncated)?);
        let chunks = u32::from_le_bytes(self.array().map_err(Error::Truncated)?);
        Ok((entries, chunks))
    }

    pub(super) fn entry(&mut self) -> Result<RawEntry<'a>, EntryError> {
        let [kind] = self.array().map_err(EntryError::Truncated)?;
        let depth = usize::from(u16::from_le_bytes(self.array().map_err(EntryError::Truncated)?));
        let [name_length] = self.array().map_err(EntryError::Truncated)?;
        let name = self.take(usize::from(name_length)).map_err(EntryError::Truncated)?;
        let kind = match kind {
            DIRECTORY => RawKind::Directory { mode: self.mode()? },
            FILE => RawKind::File {
                mode: self.mode()?,
                size: u64::from_le_bytes(self.array().map_err(EntryError::Truncated)?),
            },
            SYMLINK => {
                let length = u16::from_le_bytes(self.array().map_err(EntryError::Truncated)?);
                RawKind::Symlink {
                    target: self.take(usize::from(length)).map_err(EntryError::Truncated)?,
                }
            }
            _ => return Err(EntryError::Kind),
        };
        Ok(RawEntry { depth, name, kind })
    }

    fn mode(&mut self) -> Result<u16, EntryError> {
        self.array().map(u16::from_le_bytes).map_err(EntryError::Truncated)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], usize> {
        let bytes = self.take(LENGTH)?;
        Ok(bytes.try_into().expect("exactly this many bytes were taken"))
    }

    /// The error is where the bytes end.
    fn take(&mut self, length: usize) -> Result<&'a [u8], usize> {
        let taken = self.bytes[self.position..].get(..length).ok_or(self.bytes.len())?;
        self.position += length;
        Ok(taken)
    }
}

/// Reads one chunk record of exactly [`CHUNK_BYTES`].
pub(super) fn chunk(record: &[u8]) -> ChunkReference {
    let (length, digest) = record.split_at(4);
    ChunkReference {
        digest: Digest::new(digest.try_into().expect("a chunk record ends with 32 bytes")),
        length: u32::from_le_bytes(length.try_into().expect("a chunk record begins with 4 bytes")),
    }
}
