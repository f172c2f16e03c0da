//! What watchers of a build are told, by server-sent events.
//!
//! Each event's name is the `type` of its data, which is one [`WatchEvent`]. The stream begins with a snapshot, also when
//! `Last-Event-ID` is sent: whoever reconnects has missed nothing that still counts. After the `build` event with a terminal
//! state the stream ends.

use serde::{Deserialize, Serialize};
use tombolo_core::name::{ClusterName, JobName};
use utoipa::ToSchema;

use crate::build::{Build, BuildSummary};
use crate::job::Job;
use crate::transfer::RouteKind;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WatchEvent {
    /// Everything, as it is now. Comes first, and again when the watcher was too slow.
    Snapshot {
        /// The build.
        build: Box<Build>,
    },
    /// The build changed.
    Build {
        /// The build, without its jobs.
        build: BuildSummary,
    },
    /// A job changed, or why it is waiting.
    Job {
        /// The job.
        job: Box<Job>,
    },
    /// An input is on its way. Some are left out.
    Progress {
        /// How far it is.
        progress: Progress,
    },
}

/// How far the transfer of one input is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// The job that waits for it.
    #[schema(value_type = String)]
    pub job: JobName,
    /// In which of its attempts.
    pub epoch: u32,
    /// The parent whose output it is; none for the build's source.
    #[schema(value_type = Option<String>)]
    pub parent: Option<JobName>,
    /// Where it comes from; none for the master.
    #[schema(value_type = Option<String>)]
    pub from: Option<ClusterName>,
    /// The way in use.
    pub route: RouteKind,
    /// The content's size.
    pub bytes: u64,
    /// How much of it is there.
    pub done_bytes: u64,
    /// What crossed the link so far.
    pub moved_bytes: u64,
    /// The time since the beginning.
    pub milliseconds: u64,
    /// How much content comes in a second; none before that is known.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// How long the rest takes at this rate.
    #[serde(default)]
    pub milliseconds_left: Option<u64>,
}
