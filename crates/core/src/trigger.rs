//! Triggers: builds that are submitted by a schedule, or by whoever calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attempt::Revision;
use crate::digest::Digest;
use crate::id::{BuildId, ProjectId};
use crate::name::TriggerName;
use crate::time::Timestamp;

/// What is submitted, when, and what came of it last. The job file is kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Whose builds it makes.
    pub project: ProjectId,
    /// Its name, unique in the project.
    pub name: TriggerName,
    /// When it fires by itself; never if none.
    pub schedule: Option<Schedule>,
    /// Variables for all jobs of its builds; they outrank those of the job file.
    pub environment: BTreeMap<String, String>,
    /// The manifest of the source of its builds.
    pub source: Option<Digest>,
    /// The version of the source.
    pub revision: Revision,
    /// What happens while its last build runs.
    pub overlap: Overlap,
    /// What happens to times at which no master was there.
    pub catch_up: CatchUp,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last time of the schedule that was dealt with.
    pub fired_for: Option<Timestamp>,
    /// The last build that it has made.
    pub last: Option<LastBuild>,
    /// Why the last time of the schedule made no build; none if it did.
    pub obstacle: Option<String>,
}

/// When a trigger fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Minute, hour, day of the month, month and day of the week, as cron has them.
    pub cron: String,
    /// Whose clock they are of: a name of the IANA database.
    pub timezone: String,
}

/// What happens at a time of the schedule at which the last build of the trigger still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Another one is submitted.
    #[default]
    Allow,
    /// The time passes without a build.
    Skip,
}

/// What happens to times of the schedule at which no master was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The last of them is made up for, once.
    #[default]
    Once,
    /// They have passed.
    Never,
}

/// A build that a trigger has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastBuild {
    /// Its id.
    pub build: BuildId,
    /// Its number.
    pub number: u64,
    /// When it was submitted.
    pub at: Timestamp,
}

/// The job file of a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerFile {
    /// Its name: its path from the top of the source, if there is one.
    pub name: String,
    /// Its text.
    pub text: String,
}
