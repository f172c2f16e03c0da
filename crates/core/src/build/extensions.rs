//! What a job can say in files of Tombolo's own, and not in those of InfraBox.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::array::Array;
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
    /// What it takes of the outputs of its parents; all of it where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputRule>,
    /// How many of it there are, if it is an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<Array>,
    /// The most that its output may have, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit_bytes: Option<u64>,
}

/// What a job takes of the output of one of its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRule {
    /// The parent.
    pub job: JobName,
    /// It takes something of it; else the output is not brought at all.
    pub wanted: bool,
    /// Patterns of the files and folders that it takes; everything if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The folder under `inputs` that they come to; the last part of the parent's name if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Of an array, an index takes the output of the same index only; both have as many.
    #[serde(default, skip_serializing_if = "is_false")]
    pub same_index: bool,
}

/// For what is not written unless it is so.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// The folder under `inputs` that a parent's output comes to; none if the job takes nothing of it.
pub fn input_folder<'a>(extensions: Option<&'a Extensions>, parent: &'a JobName) -> Option<&'a str> {
    match extensions.and_then(|says| says.input(parent)) {
        Some(InputRule { wanted: false, .. }) => None,
        Some(InputRule {
            folder: Some(folder), ..
        }) => Some(folder),
        _ => Some(parent.last_segment()),
    }
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
    /// What it says of the output of a parent.
    pub fn input(&self, parent: &JobName) -> Option<&InputRule> {
        self.inputs.iter().find(|rule| rule.job == *parent)
    }

    /// Calls the jobs that it names as `name` says, since they came to another place.
    ///
    /// # Errors
    /// Those of `name`.
    pub fn rename_jobs<Error>(&mut self, name: impl Fn(&JobName) -> Result<JobName, Error>) -> Result<(), Error> {
        for job in self
            .same_as
            .iter_mut()
            .chain(self.inputs.iter_mut().map(|rule| &mut rule.job))
        {
            *job = name(job)?;
        }
        Ok(())
    }

    /// As it is kept: in a box, and not at all if it says nothing.
    pub fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}
