//! Sessions of users with running jobs.

use std::time::Duration;

use serde::Deserialize;

use crate::exec;

/// Sessions of users with running jobs (`tombolo exec`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Exec {
    /// How long a session may be open without a byte in either direction.
    #[serde(with = "humantime_serde")]
    pub idle: Duration,
    /// How many sessions the jobs of one build may have at once.
    pub sessions_per_build: usize,
}

impl Default for Exec {
    fn default() -> Self {
        let exec::Settings {
            idle,
            sessions_per_build,
        } = exec::Settings::default();
        Self {
            idle,
            sessions_per_build,
        }
    }
}
