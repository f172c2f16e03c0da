//! What a job can say in files of Tombolo's own, and not in those of InfraBox.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retry::Retry;
use crate::label::Selector;
use crate::name::JobName;

/// What a job says beyond InfraBox's fields. Most jobs say nothing of it, so it is kept apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions {
    /// When it runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// How long its phases may take, beside its command.
    #[serde(default)]
    pub limits: PhaseLimits,
    /// The clusters to take before others, among those that may run it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preferences: Vec<Preference>,
    /// The key of a label over whose values the build's jobs that name it are spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// The parent on whose cluster it has to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_as: Option<JobName>,
}

/// Clusters that a job would rather have than others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preference {
    /// Which clusters.
    pub selector: Selector,
    /// How much rather: weights of all preferences that a cluster meets add up.
    pub weight: u32,
}

impl Preference {
    /// The most preferences of one job.
    pub const MAX_COUNT: usize = 16;

    /// The largest weight.
    pub const MAX_WEIGHT: u32 = 1000;
}

/// How long phases of a job may take; as long as it lasts where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseLimits {
    /// The wait for a cluster with room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Duration>,
    /// From when everything is there until the command runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Duration>,
    /// The way of source, inputs and cache to the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Duration>,
}

impl Extensions {
    /// Calls the jobs that it names as `name` says, since they came to another place.
    ///
    /// # Errors
    /// Those of `name`.
    pub fn rename_jobs<Error>(&mut self, name: impl Fn(&JobName) -> Result<JobName, Error>) -> Result<(), Error> {
        if let Some(job) = &mut self.same_as {
            *job = name(job)?;
        }
        Ok(())
    }

    /// As it is kept: in a box, and not at all if it says nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}
