//! Between wire and domain.

mod assignment;
mod build_outcome;
mod cache;
mod copied;
mod frame;
mod generated_file;
mod hello;
mod input_rule;
mod phase;
mod repository;
mod route;

use std::collections::HashMap;
use std::time::Duration;

use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_core::label::Labels;
use tombolo_core::resources::Resources;
use tombolo_core::volume::VolumeId;
use uuid::Uuid;

use crate::agent::v1 as wire;

/// Something from the wire that the domain does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {reason}")]
pub struct Error {
    /// Which field of which message, as `Message.field`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Error {
    pub(crate) fn new(field: &'static str, reason: impl ToString) -> Self {
        Self {
            field,
            reason: reason.to_string(),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// The value of a message field that must be there.
pub(crate) fn required<T>(value: Option<T>, field: &'static str) -> Result<T, Error> {
    value.ok_or_else(|| Error::new(field, "is missing"))
}

/// A UUID of 16 bytes.
pub fn uuid(bytes: &[u8], field: &'static str) -> Result<Uuid, Error> {
    Uuid::from_slice(bytes).map_err(|_| Error::new(field, format!("is {} bytes long, not 16", bytes.len())))
}

/// A digest of 32 bytes.
pub fn digest(bytes: &[u8], field: &'static str) -> Result<Digest, Error> {
    let length = bytes.len();
    <[u8; 32]>::try_from(bytes)
        .map(Digest::new)
        .map_err(|_| Error::new(field, format!("is {length} bytes long, not 32")))
}

/// Text without NUL, which no database takes.
pub(crate) fn text(text: String, field: &'static str) -> Result<String, Error> {
    if text.contains('\0') {
        Err(Error::new(field, "contains a NUL character"))
    } else {
        Ok(text)
    }
}

/// Labels as the wire carries them: flags have an empty value.
pub(crate) fn labels_to_wire(labels: &Labels) -> HashMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Labels from the wire.
pub(crate) fn labels(labels: HashMap<String, String>, field: &'static str) -> Result<Labels, Error> {
    Labels::from_pairs(labels).map_err(|error| Error::new(field, error))
}

/// Whole milliseconds, as many as the wire can carry.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The name of a volume.
pub(crate) fn volume(name: &str, field: &'static str) -> Result<VolumeId, Error> {
    name.parse().map_err(|error| Error::new(field, error))
}

/// An attempt.
pub fn attempt(attempt: Option<wire::Attempt>, field: &'static str) -> Result<AttemptId, Error> {
    let attempt = required(attempt, field)?;
    Ok(AttemptId {
        job: JobId::new(uuid(&attempt.job, field)?),
        epoch: Epoch(attempt.epoch),
    })
}

impl From<AttemptId> for wire::Attempt {
    fn from(attempt: AttemptId) -> Self {
        Self {
            job: attempt.job.uuid().as_bytes().to_vec(),
            epoch: attempt.epoch.0,
        }
    }
}

impl From<Resources> for wire::Resources {
    fn from(resources: Resources) -> Self {
        Self {
            cpu_milli: resources.cpu_milli,
            memory_bytes: resources.memory_bytes,
        }
    }
}

impl From<wire::Resources> for Resources {
    fn from(resources: wire::Resources) -> Self {
        Self {
            cpu_milli: resources.cpu_milli,
            memory_bytes: resources.memory_bytes,
        }
    }
}
