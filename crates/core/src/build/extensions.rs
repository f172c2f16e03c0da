//! What a job can say in files of Tombolo's own, and not in those of InfraBox.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::array::Array;
use super::hook::Hook;
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
    /// For how many days after the end of its build its output is kept, if the project does not give it up before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_keep_days: Option<u32>,
    /// When it runs, if that is when the others are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<Hook>,
    /// What becomes of its command when its cluster is not heard of.
    #[serde(default, skip_serializing_if = "OnDisconnect::is_default")]
    pub on_disconnect: OnDisconnect,
    /// Its command never runs twice at the same time: it is stopped when its cluster's lease ends, by whatever watches it there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exclusive: bool,
}

/// What becomes of an attempt whose command may run, when its cluster is not heard of any more. One whose command has not started is
/// placed again when the lease ends, whatever is said here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// It is placed again some time after the end of the lease, as the master's settings say.
    #[default]
    Later,
    /// It is placed again when the lease ends. The command may go on where it was.
    Replace,
    /// It is never placed again, until the cluster is removed or the job cancelled.
    Wait,
}

impl OnDisconnect {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
    /// It is the job's source, in the place of the build's. No job file says so: it is so for jobs that a clone makes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_source: bool,
    /// Of an array, an index takes the output of the same index only; both have as many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_index: bool,
}

/// Whether a job is given the output of a parent, in whichever place.
pub fn takes_input(extensions: Option<&Extensions>, parent: &JobName) -> bool {
    let rule = extensions.and_then(|says| says.input(parent));
    rule.is_none_or(|rule| rule.wanted)
}

/// The folder under `inputs` that a parent's output comes to; none if the job takes nothing of it, or as its source.
pub fn input_folder<'a>(extensions: Option<&'a Extensions>, parent: &'a JobName) -> Option<&'a str> {
    match extensions.and_then(|says| says.input(parent)) {
        Some(InputRule { wanted: false, .. } | InputRule { is_source: true, .. }) => None,
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

    /// The parent whose output is its source, if that is not the build's.
    pub fn source(&self) -> Option<&JobName> {
        let rule = self.inputs.iter().find(|rule| rule.is_source)?;
        Some(&rule.job)
    }

    /// Has the output of `parent` be its source.
    pub(crate) fn take_source_of(&mut self, parent: JobName) {
        self.inputs.retain(|rule| rule.job != parent);
        self.inputs.push(InputRule {
            job: parent,
            wanted: true,
            paths: Vec::new(),
            folder: None,
            is_source: true,
            same_index: false,
        });
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
