//! Uploading the source of a build: ask what is missing, send those chunks, then the manifest.

use serde::{Deserialize, Serialize};
use tombolo_core::digest::Digest;
use utoipa::ToSchema;

/// Asks which of these chunks the project does not have yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MissingChunksQuery {
    /// The chunks; at most [`crate::limit::MISSING_CHUNKS`] at once.
    #[schema(max_items = 10_000)]
    pub chunks: Vec<ChunkReference>,
}

/// One chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkReference {
    /// The BLAKE3 digest of its content: 64 lower-case hexadecimal digits.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The size of its content, before compression.
    pub bytes: u64,
}

/// The chunks that are missing, in the order of the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MissingChunks {
    /// Their digests.
    #[schema(value_type = Vec<String>)]
    pub missing: Vec<Digest>,
}
