//! What the master keeps: one record type per kind of thing, as the control plane and the store share them.

mod array;
mod course;
mod status;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use course::{Course, Replaced, Try, Unbegun};
pub use status::{AttemptLog, End, JobStatus, Loss};

use crate::access::Right;
use crate::attempt::Revision;
use crate::build::extensions::Extensions;
use crate::build::{BuildState, JobKind, JobSpec, StateSet};
use crate::capability::{Capability, CapabilitySet};
use crate::digest::Digest;
use crate::id::{BuildId, InviteId, JobId, ProjectId, TokenId};
use crate::label::{Labels, Selector};
use crate::name::{ClusterName, JobName, ProjectName};
use crate::placement::Availability;
use crate::resources::Resources;
use crate::retention::{Policy, expiry};
use crate::share::Share;
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
    /// What it may have of the clusters.
    pub share: Share,
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
    /// Which jobs it takes, as an administrator has said.
    pub availability: Availability,
    /// Its agent was granted a handover lease that may not be over.
    pub is_handing_over: bool,
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
    /// The SHA-256 of the root's public key by which who joins with it knows the master; none if it was made by a version that did not note it.
    pub pin: Option<Digest>,
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

/// The part of a job that does not change as it goes on, as far as the live state needs it. The rest is in its specification. Only
/// parents come to it when one of them makes new jobs.
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
    /// Whether a cluster runs it at all.
    pub kind: JobKind,
    /// The job that made it while the build ran, by index; none for what was submitted.
    pub generated_by: Option<u32>,
    /// Its parents, by index, and the states in which it follows them.
    pub parents: Vec<(u32, StateSet)>,
    /// Which clusters may run it.
    pub selector: Selector,
    /// The cluster to take when it fits.
    pub prefer: Option<ClusterName>,
    /// Among the jobs of its project, those of higher priority come first.
    pub priority: i8,
    /// What it needs.
    pub resources: Resources,
    /// How long its command may run.
    pub timeout: Duration,
    /// The volumes that it works with.
    pub volumes: VolumeSet,
    /// It asks for a cache.
    pub cache: bool,
    /// What its executor must be able to do.
    pub needs: CapabilitySet,
    /// What it says beyond InfraBox's fields, if it does.
    pub extensions: Option<Box<Extensions>>,
}

impl JobNode {
    /// Whether it clones a repository, which is the source of the jobs that it makes.
    pub fn is_clone(&self) -> bool {
        self.needs.contains(Capability::Git)
    }

    /// When the output of the job goes because its file says so; none while its build runs, and if it does not say so.
    pub fn output_expiry(&self, build: &Build) -> Option<Timestamp> {
        expiry(self.output_keep_days()?, build.ended_at)
    }

    /// For how many days after the end of its build its output is kept, if its file says so.
    pub fn output_keep_days(&self) -> Option<u32> {
        self.extensions.as_ref()?.output_keep_days
    }

    /// The part of `spec` that the live state needs, for the job at `index` of `build`.
    pub(super) fn new(id: JobId, build: BuildId, index: u32, spec: &JobSpec, parents: Vec<(u32, StateSet)>) -> Self {
        Self {
            id: spec.array().map_or(id, |_| id.for_array()),
            build,
            index,
            name: spec.name.clone(),
            kind: spec.kind,
            generated_by: None,
            parents,
            selector: spec.selector.clone(),
            prefer: spec.prefer.clone(),
            priority: spec.priority,
            resources: spec.resources,
            timeout: spec.timeout,
            volumes: spec.volumes,
            cache: spec.cache,
            needs: spec.needs,
            extensions: spec.extensions.clone(),
        }
    }
}
