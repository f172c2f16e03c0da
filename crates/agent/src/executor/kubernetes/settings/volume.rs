//! Volumes, as settings.

use bytesize::ByteSize;
use serde::Deserialize;

/// Volumes for jobs whose inputs would fill their node's disk, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSection {
    /// Their class; the cluster's default if it is not given.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// The largest.
    #[serde(default = "default_volume_maximum")]
    pub maximum: ByteSize,
}

/// Volumes for jobs whose inputs would fill their node's disk, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `VolumeSection`")]
pub struct SandboxVolume {
    pub storage_class: Option<String>,
    pub maximum_bytes: u64,
}

const fn default_volume_maximum() -> ByteSize {
    ByteSize::gib(100)
}
