//! Triggers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tombolo_core::digest::Digest;
use tombolo_core::name::TriggerName;
use tombolo_core::trigger;
use utoipa::ToSchema;

use crate::build::{JobFile, Revision};
use crate::time::DateTime;

/// The triggers of a project, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriggerList {
    /// Them.
    pub triggers: Vec<Trigger>,
}

/// What is submitted when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trigger {
    /// Its name.
    #[schema(value_type = String)]
    pub name: TriggerName,
    /// When it fires by itself; never if none.
    pub schedule: Option<Schedule>,
    /// The next time at which it fires by itself.
    pub next_at: Option<DateTime>,
    /// Variables for all jobs of its builds.
    pub environment: BTreeMap<String, String>,
    /// The digest of its source's manifest.
    #[schema(value_type = Option<String>)]
    pub source: Option<Digest>,
    /// The version of the source.
    pub revision: Revision,
    /// What happens while its last build runs.
    pub overlap: Overlap,
    /// What happens to times at which no master was there.
    pub catch_up: CatchUp,
    /// The name of the token that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime,
    /// The number of the last build that it has made.
    pub last_build: Option<u64>,
    /// When that was submitted.
    pub last_at: Option<DateTime>,
    /// Why the last time of the schedule made no build; none if it did.
    pub obstacle: Option<String>,
}

/// When a trigger fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day of the month, month and day of the week, as cron has them.
    pub cron: String,
    /// Whose clock they are of: a name of the IANA database, such as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub timezone: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What happens at a time at which the last build of the trigger still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Another one is submitted.
    #[default]
    Allow,
    /// The time passes without a build; whoever asks for one is refused.
    Skip,
}

/// What happens to times at which no master was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The last of them is made up for, once.
    #[default]
    Once,
    /// They have passed.
    Never,
}

/// Asks for a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTrigger {
    /// Its name.
    #[schema(value_type = String)]
    pub name: TriggerName,
    /// What it submits.
    pub job_file: JobFile,
    /// The digest of the manifest of a source that was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<Digest>,
    /// The version of the source.
    #[serde(default)]
    pub revision: Revision,
    /// When it fires by itself; never if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Variables for all jobs of its builds; they outrank those of the job file.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// What happens while its last build runs.
    #[serde(default)]
    pub overlap: Overlap,
    /// What happens to times at which no master was there.
    #[serde(default)]
    pub catch_up: CatchUp,
}

/// Asks a trigger for a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunTrigger {
    /// Variables for all jobs of the build; they outrank those of the trigger.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

impl From<trigger::Overlap> for Overlap {
    fn from(overlap: trigger::Overlap) -> Self {
        match overlap {
            trigger::Overlap::Allow => Self::Allow,
            trigger::Overlap::Skip => Self::Skip,
        }
    }
}

impl From<Overlap> for trigger::Overlap {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Allow => Self::Allow,
            Overlap::Skip => Self::Skip,
        }
    }
}

impl From<trigger::CatchUp> for CatchUp {
    fn from(catch_up: trigger::CatchUp) -> Self {
        match catch_up {
            trigger::CatchUp::Once => Self::Once,
            trigger::CatchUp::Never => Self::Never,
        }
    }
}

impl From<CatchUp> for trigger::CatchUp {
    fn from(catch_up: CatchUp) -> Self {
        match catch_up {
            CatchUp::Once => Self::Once,
            CatchUp::Never => Self::Never,
        }
    }
}

impl From<trigger::Schedule> for Schedule {
    fn from(schedule: trigger::Schedule) -> Self {
        let trigger::Schedule { cron, timezone } = schedule;
        Self { cron, timezone }
    }
}

impl From<Schedule> for trigger::Schedule {
    fn from(schedule: Schedule) -> Self {
        let Schedule { cron, timezone } = schedule;
        Self { cron, timezone }
    }
}

impl Trigger {
    /// The record, and the next time of its schedule.
    pub fn new(trigger: trigger::Trigger, next_at: Option<DateTime>) -> Self {
        Self {
            name: trigger.name,
            schedule: trigger.schedule.map(Schedule::from),
            next_at,
            environment: trigger.environment,
            source: trigger.source,
            revision: trigger.revision.into(),
            overlap: trigger.overlap.into(),
            catch_up: trigger.catch_up.into(),
            created_by: trigger.created_by,
            created_at: trigger.created_at.into(),
            last_build: trigger.last.as_ref().map(|last| last.number),
            last_at: trigger.last.map(|last| last.at.into()),
            obstacle: trigger.obstacle,
        }
    }
}
