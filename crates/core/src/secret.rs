//! Values that a project keeps secret: what is known of them without their keys.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::ProjectId;
use crate::name::SecretName;
use crate::time::Timestamp;

/// The most bytes of a value: half of what a system takes as one variable.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Values with fewer bytes are not masked in logs: they would match by chance.
pub const MASKED_BYTES_MIN: usize = 4;

/// A secret of a project, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Whose it is.
    pub project: ProjectId,
    /// How job files name it.
    pub name: SecretName,
    /// When its value was given.
    pub updated_at: Timestamp,
}

/// A value as it is kept: encrypted, and of use only for the secret that it was sealed for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedValue {
    /// Which key opens it.
    pub key: String,
    /// The nonce and what was encrypted.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for SealedValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SealedValue")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A secret of a project with its value, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// Which.
    pub secret: Secret,
    /// Its value.
    pub value: SealedValue,
}
