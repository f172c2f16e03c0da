//! How the secrets of projects are kept.

use std::path::PathBuf;

use serde::Deserialize;

/// How the secrets of projects are kept.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// The file with the keys that they are encrypted with: one a line, 32 bytes in base64. The first encrypts, the others only decrypt.
    /// Without it a key is made in the data folder, as `secrets.key`.
    pub key_file: Option<PathBuf>,
}
