//! Chunks: pieces of content, named by their digest, and how they are stored.

use bytes::Bytes;
use tombolo_core::digest::Digest;

use crate::digest_of;

/// No chunk but an artifact's last is shorter. FastCDC's own upper bound for this parameter.
pub const MINIMUM_CHUNK_BYTES: u32 = 1 << 20;
/// What FastCDC aims at: large enough that a request per chunk costs little, small enough that a change moves little.
pub const AVERAGE_CHUNK_BYTES: u32 = 4 << 20;
/// No chunk is longer; it bounds what one chunk can take in memory anywhere.
pub const MAXIMUM_CHUNK_BYTES: u32 = 16 << 20;
/// No stored chunk is longer: one byte says how it is coded, and the body is never longer than the content.
pub const MAXIMUM_STORED_CHUNK_BYTES: u32 = MAXIMUM_CHUNK_BYTES + 1;

/// The level at which zstd still keeps up with the stores on two cores.
const COMPRESSION_LEVEL: i32 = 3;
/// Compression pays if what is left is at most this many hundredths.
const WORTHWHILE_PERCENT: usize = 95;
/// Below this, the frame around the compressed data costs what compression saves.
const SMALLEST_COMPRESSED_BYTES: usize = 64;

const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// A stored chunk that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is not even the byte that says how it is coded.
    #[error("chunk {0} is stored as an empty object")]
    Empty(Digest),
    /// The first byte is none that this version knows.
    #[error("chunk {digest} is stored with the unknown coding {coding}")]
    Coding {
        /// The chunk.
        digest: Digest,
        /// The byte found.
        coding: u8,
    },
    /// The compressed data is damaged, or larger than it may be.
    #[error("chunk {digest} cannot be decompressed: {reason}")]
    Decompress {
        /// The chunk.
        digest: Digest,
        /// What zstd says.
        reason: String,
    },
    /// It has another length than the manifest says.
    #[error("chunk {digest} has {found} bytes where {expected} are expected")]
    Length {
        /// The chunk.
        digest: Digest,
        /// The length in the manifest (or the longest allowed, if none is known).
        expected: u32,
        /// The length found.
        found: usize,
    },
    /// Its bytes have another digest.
    #[error("chunk {expected} has bytes whose digest is {found}")]
    Digest {
        /// Its name.
        expected: Digest,
        /// What its bytes say.
        found: Digest,
    },
}

/// A chunk as a manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkReference {
    /// The digest of its content, uncompressed.
    pub digest: Digest,
    /// The length of its content, in bytes, uncompressed; 1 to [`MAXIMUM_CHUNK_BYTES`].
    pub length: u32,
}

/// Content whose digest is known, not yet copied out of the packer's buffer.
#[derive(Debug, Clone, Copy)]
pub struct BorrowedChunk<'a> {
    reference: ChunkReference,
    bytes: &'a [u8],
}

impl<'a> BorrowedChunk<'a> {
    /// Computes the digest of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            reference: ChunkReference {
                digest: digest_of(bytes),
                length,
            },
            bytes,
        }
    }

    /// The same where the digest of `bytes` is known already.
    pub(crate) fn known(reference: ChunkReference, bytes: &'a [u8]) -> Self {
        Self { reference, bytes }
    }

    /// Its name and length.
    pub fn reference(&self) -> ChunkReference {
        self.reference
    }

    /// Copies it.
    pub fn to_chunk(&self) -> Chunk {
        Chunk {
            reference: self.reference,
            bytes: Bytes::copy_from_slice(self.bytes),
        }
    }
}

/// Content whose digest is known: a value of this type *has* the digest and length that it says.
#[derive(Debug, Clone)]
pub struct Chunk {
    reference: ChunkReference,
    bytes: Bytes,
}

impl Chunk {
    /// Computes the digest of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self {
            reference: BorrowedChunk::new(&bytes).reference,
            bytes,
        }
    }

    /// Its name and length.
    pub fn reference(&self) -> ChunkReference {
        self.reference
    }

    /// Its content.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A chunk as it is stored and sent: one byte that says how it is coded, then the body. A value of this type was made from a
/// [`Chunk`] or was decoded once and found to be what its name says.
#[derive(Debug, Clone)]
pub struct StoredChunk {
    reference: ChunkReference,
    coding: &'static [u8; 1],
    body: Bytes,
}

impl StoredChunk {
    /// Compresses the chunk if that pays; otherwise shares its bytes.
    pub fn encode(chunk: &Chunk) -> Self {
        match compress(&chunk.bytes) {
            Some(body) => Self {
                reference: chunk.reference,
                coding: &[ZSTD],
                body,
            },
            None => Self {
                reference: chunk.reference,
                coding: &[RAW],
                body: chunk.bytes.clone(),
            },
        }
    }

    /// Decodes an object that should be the chunk, and checks length and digest. No more than the expected length is ever
    /// decompressed.
    pub fn verify(object: Bytes, expected: ChunkReference) -> Result<(Self, Chunk), Error> {
        let (stored, bytes) = Self::decode(object, expected.digest, expected.length)?;
        if bytes.len() != expected.length as usize {
            return Err(Error::Length {
                digest: expected.digest,
                expected: expected.length,
                found: bytes.len(),
            });
        }
        stored.checked(bytes, expected.digest)
    }

    /// As [`Self::verify`] where only the digest is known: the content may have any length up to [`MAXIMUM_CHUNK_BYTES`].
    pub fn verify_digest(object: Bytes, expected: Digest) -> Result<(Self, Chunk), Error> {
        let (stored, bytes) = Self::decode(object, expected, MAXIMUM_CHUNK_BYTES)?;
        if bytes.is_empty() || bytes.len() > MAXIMUM_CHUNK_BYTES as usize {
            return Err(Error::Length {
                digest: expected,
                expected: MAXIMUM_CHUNK_BYTES,
                found: bytes.len(),
            });
        }
        stored.checked(bytes, expected)
    }

    /// The name and length of the content.
    pub fn reference(&self) -> ChunkReference {
        self.reference
    }

    /// The length as stored, in bytes.
    pub fn stored_length(&self) -> usize {
        self.coding.len() + self.body.len()
    }

    /// The stored object in two parts that share memory with this value.
    pub fn parts(&self) -> [Bytes; 2] {
        [Bytes::from_static(self.coding), self.body.clone()]
    }

    /// The stored object in one piece (a copy).
    pub fn to_bytes(&self) -> Bytes {
        self.parts().concat().into()
    }

    fn decode(mut object: Bytes, digest: Digest, longest: u32) -> Result<(Self, Bytes), Error> {
        if object.is_empty() {
            return Err(Error::Empty(digest));
        }
        let body = object.split_off(1);
        let (coding, bytes) = match object[0] {
            RAW => (&[RAW], body.clone()),
            ZSTD => (&[ZSTD], decompress(&body, digest, longest)?),
            coding => return Err(Error::Coding { digest, coding }),
        };
        Ok((
            Self {
                reference: ChunkReference { digest, length: 0 },
                coding,
                body,
            },
            bytes,
        ))
    }

    fn checked(mut self, bytes: Bytes, expected: Digest) -> Result<(Self, Chunk), Error> {
        let chunk = Chunk::new(bytes);
        if chunk.reference.digest != expected {
            return Err(Error::Digest {
                expected,
                found: chunk.reference.digest,
            });
        }
        self.reference = chunk.reference;
        Ok((self, chunk))
    }
}

/// Compresses bytes that are not a chunk (a manifest) by the same coding; [`decode_object`] is the way back.
pub fn encode_object(bytes: &Bytes) -> Bytes {
    let (coding, body) = compress(bytes).map_or((RAW, bytes.clone()), |body| (ZSTD, body));
    [&[coding][..], &body].concat().into()
}

/// Decodes what [`encode_object`] made and checks its digest; no more than `longest` bytes are decompressed.
pub fn decode_object(object: Bytes, expected: Digest, longest: u32) -> Result<Bytes, Error> {
    let (_, bytes) = StoredChunk::decode(object, expected, longest)?;
    if bytes.len() > longest as usize {
        return Err(Error::Length {
            digest: expected,
            expected: longest,
            found: bytes.len(),
        });
    }
    let found = digest_of(&bytes);
    if found == expected {
        Ok(bytes)
    } else {
        Err(Error::Digest { expected, found })
    }
}

/// `None` if compression does not pay: the buffer is too small for a result that would not.
fn compress(bytes: &[u8]) -> Option<Bytes> {
    if bytes.len() < SMALLEST_COMPRESSED_BYTES {
        return None;
    }
    let mut body = Vec::with_capacity(bytes.len() * WORTHWHILE_PERCENT / 100);
    let mut compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL).ok()?;
    compressor.compress_to_buffer(bytes, &mut body).ok()?;
    body.shrink_to_fit();
    Some(body.into())
}

fn decompress(body: &[u8], digest: Digest, longest: u32) -> Result<Bytes, Error> {
    let failed = |error: std::io::Error| Error::Decompress {
        digest,
        reason: error.to_string(),
    };
    let capacity = zstd::bulk::Decompressor::upper_bound(body).map_or(longest as usize, |bound| {
        // Says too much only if it lies or is damaged; then the decompressor finds the buffer too small.
        bound.min(longest as usize)
    });
    let mut bytes = Vec::with_capacity(capacity);
    zstd::bulk::Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress_to_buffer(body, &mut bytes))
        .map_err(failed)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests;
