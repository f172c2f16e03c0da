//! Where the certificate authority comes from.

use std::path::PathBuf;

use serde::Deserialize;

/// Where the CA comes from. Without files one is made in the data folder at the first start.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authority {
    /// PEM file with the CA's certificate. There may be several: the one that is the key's signs, the other roots are trusted as well, while
    /// one takes the place of another (`tombolo ca rotate`).
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the CA's private key.
    pub key_file: Option<PathBuf>,
    /// PEM file with the private key (P-256, PKCS #8) that signs the clusters' rights to read outputs. Without it one is made in the data
    /// folder.
    pub grant_key_file: Option<PathBuf>,
}
