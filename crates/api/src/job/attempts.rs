//! Attempts of a job beside the one that it ends with.

use serde::{Deserialize, Serialize};
use tombolo_core::control::record;
use tombolo_core::name::ClusterName;
use utoipa::ToSchema;

use super::JobState;
use crate::time::DateTime;

/// An attempt that ended, and did not end its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Try {
    /// Its number: its log is kept under it.
    pub epoch: u32,
    /// How it ended.
    pub state: JobState,
    /// Why, in one line, if that needs a word.
    pub message: String,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// The cluster that ran it.
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// When its command started.
    pub started_at: Option<DateTime>,
    /// When it ended.
    pub ended_at: Option<DateTime>,
    /// How many lines its log has.
    pub log_lines: Option<u64>,
}

impl From<&record::Try> for Try {
    fn from(earlier: &record::Try) -> Self {
        Self {
            epoch: earlier.epoch.0,
            state: earlier.state.into(),
            message: earlier.message.clone(),
            exit_code: earlier.exit_code,
            cluster: earlier.cluster.clone(),
            started_at: earlier.started_at.map(Into::into),
            ended_at: earlier.ended_at.map(Into::into),
            log_lines: earlier.log_lines,
        }
    }
}

/// An attempt that the system lost, and that another one took the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replaced {
    /// Its number: its log is kept under it.
    pub epoch: u32,
    /// The cluster that had it.
    #[schema(value_type = String)]
    pub cluster: ClusterName,
    /// Why it was given up, in one line.
    pub reason: String,
    /// When that was.
    pub at: DateTime,
    /// How many lines its log has, if its cluster has said so.
    pub log_lines: Option<u64>,
}

impl From<&record::Replaced> for Replaced {
    fn from(replaced: &record::Replaced) -> Self {
        Self {
            epoch: replaced.epoch.0,
            cluster: replaced.cluster.clone(),
            reason: replaced.reason.clone(),
            at: replaced.at.into(),
            log_lines: replaced.log_lines,
        }
    }
}

/// An attempt that makes the output of a job again which has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recovery {
    /// Where the attempt stands; never that it is over.
    pub state: JobState,
    /// The cluster that has it.
    #[schema(value_type = Option<String>)]
    pub cluster: Option<ClusterName>,
    /// Its number; that of the one before for as long as no cluster has it.
    pub epoch: u32,
}
