//! What the master keeps: one record type per kind of thing, as the control plane and the store share them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::access::Right;
use crate::attempt::{OutputReference, Revision, TransferReceipt};
use crate::build::{BuildState, JobState, StateSet};
use crate::digest::Digest;
use crate::id::{BuildId, Epoch, InviteId, JobId, ProjectId, TokenId};
use crate::label::{Labels, Selector};
use crate::name::{ClusterName, JobName, ProjectName};
use crate::resources::Resources;
use crate::retention::Policy;
use crate::time::Timestamp;
use crate::volume::VolumeSet;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name, unique.
    pub name: ProjectName,
    /// When it was made.
    pub created_at: Timestamp,
    /// The number that its latest build has; 0 before the first.
    pub last_build: u64,
    /// The cluster that has its workspace, once a job has used it.
    pub workspace: Option<ClusterName>,
    /// What of its outputs is kept; the installation's default if nothing is said.
    pub retention: Option<Policy>,
}

/// A cluster that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name, unique.
    pub name: ClusterName,
    /// The labels that the master gave it (without the implied ones).
    pub labels: Labels,
    /// The digest of the public key that its agent proved at joining: certificates for other keys are refused.
    pub key: Digest,
    /// When it joined.
    pub joined_at: Timestamp,
}

/// The one-time right to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// Its id.
    pub id: InviteId,
    /// The digest of its secret.
    pub secret: Digest,
    /// The name that the cluster will have.
    pub cluster: ClusterName,
    /// The labels that the cluster will have.
    pub labels: Labels,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The key that used it: the same key may use it again (an answer that was lost), no other.
    pub used_by: Option<Digest>,
}

/// A user's access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// Its name, for people.
    pub name: String,
    /// The digest of its secret.
    pub secret: Digest,
    /// What it allows.
    pub right: Right,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; never if none.
    pub expires_at: Option<Timestamp>,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// Its project.
    pub project: ProjectId,
    /// Its number within the project, from 1.
    pub number: u64,
    /// Where it stands.
    pub state: BuildState,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its last job ended.
    pub ended_at: Option<Timestamp>,
    /// Who submitted it: the token's name.
    pub submitted_by: String,
    /// The manifest of its source.
    pub source: Option<Digest>,
    /// The version of the source.
    pub revision: Revision,
    /// How often it was restarted.
    pub restarts: u32,
    /// When its outputs were given up; they may be gone since then.
    pub released_at: Option<Timestamp>,
}

/// The part of a job that never changes, as far as the live state needs it. The rest is in its specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNode {
    /// Its id.
    pub id: JobId,
    /// Its build.
    pub build: BuildId,
    /// Its place in the build's list of jobs, from 0.
    pub index: u32,
    /// Its name.
    pub name: JobName,
    /// Its parents, by index, and the states in which it follows them.
    pub parents: Vec<(u32, StateSet)>,
    /// Which clusters may run it.
    pub selector: Selector,
    /// The cluster to take when it fits.
    pub prefer: Option<ClusterName>,
    /// What it needs.
    pub resources: Resources,
    /// How long its command may run.
    pub timeout: Duration,
    /// The volumes that it works with.
    pub volumes: VolumeSet,
    /// It asks for a cache.
    pub cache: bool,
}

/// The part of a job that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// The epoch of its latest attempt; 0 before the first.
    pub epoch: Epoch,
    /// The cluster of its latest attempt.
    pub cluster: Option<ClusterName>,
    /// For people: why it is in this state, if that needs a word.
    pub message: String,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// When it was first ready to run.
    pub queued_at: Option<Timestamp>,
    /// When its command started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Somebody asked for its end.
    pub cancel_requested: bool,
    /// What it left behind.
    pub output: Option<OutputReference>,
    /// How its inputs came.
    pub inputs: Vec<TransferReceipt>,
    /// How many lines its log has, once it has ended.
    pub log_lines: Option<u64>,
    /// How many of its attempts were lost by the system, and replaced.
    pub replacements: u32,
}
