//! What a command writes, and what is read back at a start.

use serde::{Deserialize, Serialize};

use super::record::{Build, Cluster, Invite, JobNode, JobStatus, Project, Token};
use crate::build::JobSpec;
use crate::id::{InviteId, ProjectId, TokenId};
use crate::name::ClusterName;

/// One row to write. A `Put` writes the whole record over the one with the same key, if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A project was made or took a build number.
    PutProject(Project),
    /// A project is gone, and all that belongs to it: builds, jobs, specifications, logs, its tokens.
    DeleteProject(ProjectId),
    /// A cluster joined or changed.
    PutCluster(Cluster),
    /// A cluster is gone.
    DeleteCluster(ClusterName),
    /// An invite was made or used.
    PutInvite(Invite),
    /// An invite is over.
    DeleteInvite(InviteId),
    /// A token was made.
    PutToken(Token),
    /// A token was revoked.
    DeleteToken(TokenId),
    /// A build was submitted. All its jobs are `Waiting`, epoch 0, unless a `PutJob` in the same set says otherwise.
    InsertBuild {
        /// The build.
        build: Build,
        /// Its jobs, by index.
        nodes: Vec<JobNode>,
        /// Their specifications, by index.
        specs: Vec<JobSpec>,
    },
    /// A build changed.
    PutBuild(Build),
    /// A job changed.
    PutJob(JobStatus),
}

/// What the control plane holds in memory: all projects, clusters, invites and tokens, and the builds that are not over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveState {
    /// All projects.
    pub projects: Vec<Project>,
    /// All clusters.
    pub clusters: Vec<Cluster>,
    /// All invites.
    pub invites: Vec<Invite>,
    /// All tokens.
    pub tokens: Vec<Token>,
    /// The builds that are still running.
    pub builds: Vec<Build>,
    /// The jobs of those builds, by build and index, terminal ones too.
    pub jobs: Vec<(JobNode, JobStatus)>,
}
