//! What a job left behind.

use serde::{Deserialize, Serialize};
use tombolo_core::digest::Digest;
use utoipa::ToSchema;

/// A page of an output's entries, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputListing {
    /// The digest of the manifest: the output's identity.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The sum of the sizes of its files.
    pub bytes: u64,
    /// How many files it has.
    pub files: u64,
    /// How many entries it has in all.
    pub total_entries: u64,
    /// The entries of this page.
    pub entries: Vec<OutputEntry>,
    /// The `offset` of the next page; none on the last.
    pub next_offset: Option<u64>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputEntry {
    /// Its path within the output, separated by `/`. Bytes that are not UTF-8 are shown as U+FFFD.
    pub path: String,
    /// The same in base64, if it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// What it is.
    pub kind: EntryKind,
    /// Its permissions, such as `0644` in octal: 420.
    pub mode: u32,
    /// Its size; 0 for what is not a file.
    pub bytes: u64,
    /// What a symbolic link points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
}
