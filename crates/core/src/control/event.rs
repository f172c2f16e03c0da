//! What watchers are told.

use serde::{Deserialize, Serialize};

use super::record::{Build, JobStatus};
use crate::attempt::RouteKind;
use crate::build::array::Counts;
use crate::id::{AttemptId, BuildId, JobId, ProjectId};
use crate::name::{ClusterName, JobName};
use crate::time::Timestamp;

/// Something that happened to a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The project.
    pub project: ProjectId,
    /// The build.
    pub build: BuildId,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The build was submitted or ended.
    Build(Build),
    /// A job changed.
    Job {
        /// Its name.
        name: JobName,
        /// Its new status.
        status: JobStatus,
    },
    /// Indexes of an array changed.
    Indexes {
        /// The array.
        array: JobId,
        /// How many are in which state now.
        counts: Counts,
    },
    /// Jobs were added to the build, or follow others than before.
    Extended,
    /// An input is on its way. Not durable; some are dropped under load.
    Progress {
        /// The attempt that waits for it; if it comes ahead, the latest of a job that will need it.
        attempt: AttemptId,
        /// How far it is.
        progress: TransferProgress,
    },
}

/// Who a transfer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// The attempt that waits for it.
    Attempt(AttemptId),
    /// Whoever will need the output of this job, which comes ahead.
    Children(JobId),
}

/// How far the transfer of one input is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferProgress {
    /// Who it is for.
    pub recipient: Recipient,
    /// The parent whose output it is; none for the build's source.
    pub parent: Option<JobName>,
    /// Where it comes from.
    pub from: Option<ClusterName>,
    /// The way in use.
    pub route: RouteKind,
    /// The content's size, in bytes; 0 if it is given up.
    pub bytes: u64,
    /// How much of it is there, in bytes.
    pub done_bytes: u64,
    /// What crossed the link so far, in bytes.
    pub moved_bytes: u64,
    /// Since the beginning.
    pub milliseconds: u64,
}
