//! The jobs of a project that wait.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What became of the jobs that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelledQueue {
    /// How many jobs were cancelled; each index of an array is one.
    pub jobs: u64,
    /// How many builds they are of.
    pub builds: u64,
}
