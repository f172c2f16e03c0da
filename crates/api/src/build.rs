//! Builds.

use serde::{Deserialize, Serialize};
use tombolo_core::attempt;
use tombolo_core::build::{self, TerminalState};
use tombolo_core::control::record;
use tombolo_core::digest::Digest;
use tombolo_core::id::BuildId;
use tombolo_core::name::{JobName, ProjectName};
use utoipa::ToSchema;

use crate::job::Job;
use crate::time::DateTime;

/// A build with its jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Build {
    /// The build itself.
    #[serde(flatten)]
    pub summary: BuildSummary,
    /// Its jobs, in the order of the job file.
    pub jobs: Vec<Job>,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildSummary {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: BuildId,
    /// Its project.
    #[schema(value_type = String)]
    pub project: ProjectName,
    /// Its number within the project, from 1.
    pub number: u64,
    /// Where it stands.
    pub state: BuildState,
    /// Somebody asked for the end of jobs that are not over yet.
    #[serde(default)]
    pub cancelling: bool,
    /// When it was submitted.
    pub created_at: DateTime,
    /// When its last job ended.
    pub ended_at: Option<DateTime>,
    /// The name of the token that submitted it.
    pub submitted_by: String,
    /// The digest of its source's manifest.
    #[schema(value_type = Option<String>)]
    pub source: Option<Digest>,
    /// The version of the source.
    pub revision: Revision,
    /// How often it was restarted.
    pub restarts: u32,
    /// When its outputs were given up by retention; none if they are kept.
    pub outputs_released_at: Option<DateTime>,
}

impl BuildSummary {
    /// The record, and the name of its project.
    pub fn new(build: &record::Build, project: &ProjectName) -> Self {
        Self {
            id: build.id,
            project: project.clone(),
            number: build.number,
            state: build.state.into(),
            cancelling: false,
            created_at: build.created_at.into(),
            ended_at: build.ended_at.map(DateTime::from),
            submitted_by: build.submitted_by.clone(),
            source: build.source,
            revision: build.revision.clone().into(),
            restarts: build.restarts,
            outputs_released_at: build.released_at.map(DateTime::from),
        }
    }
}

/// The builds of a project, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildList {
    /// The builds of this page.
    pub builds: Vec<BuildSummary>,
    /// The `before` of the next page; none on the last.
    pub next_before: Option<u64>,
}

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// Some job is not over.
    Running,
    /// All jobs finished, or were skipped.
    Finished,
    /// A user's command failed.
    Failure,
    /// The system failed a job.
    Error,
    /// Tests that a job reports failed.
    Unstable,
    /// A job was cancelled.
    Killed,
    /// All jobs were skipped.
    Skipped,
}

impl BuildState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failure => "failure",
            Self::Error => "error",
            Self::Unstable => "unstable",
            Self::Killed => "killed",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the build is over.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Running)
    }
}

impl std::fmt::Display for BuildState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl From<build::BuildState> for BuildState {
    fn from(state: build::BuildState) -> Self {
        match state {
            build::BuildState::Running => Self::Running,
            build::BuildState::Terminal(TerminalState::Finished) => Self::Finished,
            build::BuildState::Terminal(TerminalState::Failure) => Self::Failure,
            build::BuildState::Terminal(TerminalState::Error) => Self::Error,
            build::BuildState::Terminal(TerminalState::Unstable) => Self::Unstable,
            build::BuildState::Terminal(TerminalState::Killed) => Self::Killed,
            build::BuildState::Terminal(TerminalState::Skipped) => Self::Skipped,
        }
    }
}

/// What the submitter says of the version of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// The branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub branch: Option<String>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub commit: Option<String>,
    /// The tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub tag: Option<String>,
}

impl From<attempt::Revision> for Revision {
    fn from(revision: attempt::Revision) -> Self {
        Self {
            branch: revision.branch,
            commit: revision.commit,
            tag: revision.tag,
        }
    }
}

impl From<Revision> for attempt::Revision {
    fn from(revision: Revision) -> Self {
        Self {
            branch: revision.branch,
            commit: revision.commit,
            tag: revision.tag,
        }
    }
}

/// Submits a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitBuild {
    /// What to do.
    pub job_file: JobFile,
    /// The digest of the manifest of its source, uploaded before; a build without source if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub source: Option<Digest>,
    /// The version of the source.
    #[serde(default)]
    pub revision: Revision,
}

/// What of a build is run again: all of it, unless something else is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RerunBuild {
    /// Only what ended as `failure`, `error`, `unstable` or `killed`, and what comes after that.
    #[serde(default)]
    pub failed: bool,
    /// Only this job, or the jobs of this workflow, and what comes after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub job: Option<JobName>,
    /// Without what comes after the job.
    #[serde(default)]
    pub alone: bool,
}

/// A job file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobFile {
    /// Its name, which tells its format: `tombolo.yaml`, `infrabox.json`. If it lies in a folder of the source, its path from the top: the
    /// workflows that it names begin at its folder.
    #[schema(min_length = 1, max_length = 256)]
    pub name: String,
    /// Its text; at most [`crate::limit::JOB_FILE_BYTES`].
    #[schema(max_length = 1_048_576)]
    pub text: String,
}
