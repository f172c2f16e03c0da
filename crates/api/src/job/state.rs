//! Where jobs stand.

use serde::{Deserialize, Serialize};
use tombolo_core::build::{self, TerminalState};
use utoipa::ToSchema;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its parents.
    Waiting,
    /// Waits for a cluster.
    Queued,
    /// Given to a cluster.
    Assigned,
    /// The cluster fetches source and inputs.
    Preparing,
    /// The command runs.
    Running,
    /// The command has ended; its output is being stored.
    Publishing,
    /// The command ended with 0.
    Finished,
    /// The user's command failed.
    Failure,
    /// The system failed the job.
    Error,
    /// The command ended with 0, but tests that it reports failed.
    Unstable,
    /// Somebody cancelled it.
    Killed,
    /// A condition on a parent did not hold.
    Skipped,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Queued,
        Self::Assigned,
        Self::Preparing,
        Self::Running,
        Self::Publishing,
        Self::Finished,
        Self::Failure,
        Self::Error,
        Self::Unstable,
        Self::Killed,
        Self::Skipped,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Publishing => "publishing",
            Self::Finished => "finished",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Unstable => "unstable",
            Self::Killed => "killed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether something may hold it up that changes without a change of its state.
    pub const fn may_wait(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Assigned | Self::Preparing | Self::Running | Self::Publishing
        )
    }

    /// Whether the job is over.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Failure | Self::Error | Self::Unstable | Self::Killed | Self::Skipped
        )
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl From<build::JobState> for JobState {
    fn from(state: build::JobState) -> Self {
        match state {
            build::JobState::Waiting => Self::Waiting,
            build::JobState::Queued => Self::Queued,
            build::JobState::Assigned => Self::Assigned,
            build::JobState::Preparing => Self::Preparing,
            build::JobState::Running => Self::Running,
            build::JobState::Publishing => Self::Publishing,
            build::JobState::Terminal(state) => state.into(),
        }
    }
}

impl From<TerminalState> for JobState {
    fn from(state: TerminalState) -> Self {
        match state {
            TerminalState::Finished => Self::Finished,
            TerminalState::Failure => Self::Failure,
            TerminalState::Error => Self::Error,
            TerminalState::Unstable => Self::Unstable,
            TerminalState::Killed => Self::Killed,
            TerminalState::Skipped => Self::Skipped,
        }
    }
}
