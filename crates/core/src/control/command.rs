//! What the control plane can be told, and what it answers.

use super::drain::Copied;
use super::record::{Build, Cluster, Invite, JobStatus, Project, Token};
use crate::attempt::{Phase, Revision};
use crate::build::{BuildDefinition, JobSpec};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::id::{AttemptId, BuildId, JobId, ProjectId, SessionId, TokenId};
use crate::label;
use crate::name::{ClusterName, JobName, ProjectName, SecretName, TriggerName};
use crate::placement::Availability;
use crate::retention::Policy;
use crate::secret::SealedSecret;
use crate::session::{Hello, Survey};
use crate::share::Share;
use crate::time::Timestamp;
use crate::trigger::{Trigger, TriggerFile};
use crate::volume::VolumeId;

/// One thing to do. Whoever gives it has checked that the giver may.
#[derive(Debug, Clone)]
pub enum Command {
    /// Makes a project.
    CreateProject {
        /// Its id.
        id: ProjectId,
        /// Its name.
        name: ProjectName,
    },
    /// Removes a project, all its builds and its tokens. Refused while one of its builds runs.
    DeleteProject {
        /// Which.
        id: ProjectId,
    },
    /// Says what a project keeps.
    SetRetention {
        /// Which project.
        id: ProjectId,
        /// What it keeps; the installation's default if none.
        retention: Option<Policy>,
    },
    /// Says what a project may have of the clusters.
    SetShare {
        /// Which project.
        id: ProjectId,
        /// What it may have.
        share: Share,
    },
    /// Gives up the outputs of a build that is over, as it is in the store. Refused while it runs.
    ReleaseOutputs(Box<Build>),
    /// Forgets caches of a project. Jobs that run may leave new ones.
    ClearCaches {
        /// Which project.
        project: ProjectId,
        /// Only those of this job.
        job: Option<JobName>,
        /// Only those of this branch; empty for those of builds that name none.
        branch: Option<String>,
    },
    /// Makes a token.
    CreateToken(Token),
    /// Revokes a token. The last one that manages the whole installation for ever stays.
    RevokeToken {
        /// Which.
        id: TokenId,
    },
    /// Gives a project a secret, or a secret another value.
    SetSecret(SealedSecret),
    /// Keeps the value of a secret under another key.
    ResealSecret(SealedSecret),
    /// Takes a secret from a project.
    DeleteSecret {
        /// Which project.
        project: ProjectId,
        /// Which secret.
        name: SecretName,
    },
    /// Makes a trigger.
    CreateTrigger {
        /// It.
        trigger: Box<Trigger>,
        /// What it submits.
        file: TriggerFile,
    },
    /// Removes a trigger. Its builds stay.
    DeleteTrigger {
        /// Of which project.
        project: ProjectId,
        /// Which.
        name: TriggerName,
    },
    /// Submits the build of a trigger. Refused if the time was dealt with already, or the last build still runs and the trigger is not to
    /// overlap.
    Fire(Box<Firing>),
    /// A time of a trigger's schedule passes without a build.
    PassTrigger {
        /// Of which project.
        project: ProjectId,
        /// Which trigger.
        name: TriggerName,
        /// The time.
        scheduled: Timestamp,
        /// Why, for people.
        obstacle: String,
    },
    /// Makes an invite. Refused if the cluster has joined already.
    Invite(Invite),
    /// Withdraws the invites of a cluster that nobody has used.
    WithdrawInvites {
        /// The name that was invited.
        cluster: ClusterName,
    },
    /// Uses an invite: the cluster joins with `key`.
    Join {
        /// The digest of the secret that was shown.
        secret: Digest,
        /// The digest of the agent's public key.
        key: Digest,
    },
    /// Says which jobs a cluster takes from now on.
    SetAvailability {
        /// Which cluster.
        name: ClusterName,
        /// Which jobs.
        availability: Availability,
        /// What becomes of the jobs that it has.
        present: Present,
    },
    /// Changes the labels of a cluster. The jobs that it has stay there.
    ChangeLabels {
        /// Which cluster.
        name: ClusterName,
        /// What becomes of its labels.
        change: label::Change,
    },
    /// Removes a cluster: its attempts are replaced elsewhere, its certificate is of no use any more.
    RemoveCluster {
        /// Which.
        name: ClusterName,
        /// What keeps it from being removed.
        caution: Caution,
    },
    /// Submits a build.
    Submit(Box<Submission>),
    /// Cancels the jobs of a build.
    CancelBuild {
        /// Which.
        build: BuildId,
        /// Which of its jobs.
        extent: Extent,
    },
    /// Cancels the jobs of a build that wait, for a cluster, for their parents or for their next attempt. What a cluster has goes on.
    CancelQueued {
        /// Which.
        build: BuildId,
    },
    /// Cancels one job.
    CancelJob {
        /// Which.
        job: JobId,
    },
    /// An agent has connected and said what it has. Takes the place of its earlier session, if any.
    Connect {
        /// Which cluster (from its certificate).
        cluster: ClusterName,
        /// The new session, higher than all before.
        session: SessionId,
        /// What it said.
        hello: Box<Hello>,
    },
    /// An agent was heard of. Writes nothing, ever.
    Heartbeat {
        /// Which cluster.
        cluster: ClusterName,
        /// In which session; an old one is ignored.
        session: SessionId,
    },
    /// The process of an agent is about to end, and asks for the lease that lasts until another one takes its place.
    HandOver {
        /// Which cluster.
        cluster: ClusterName,
        /// In which session.
        session: SessionId,
    },
    /// An agent says how far an attempt is.
    Report {
        /// Which cluster.
        cluster: ClusterName,
        /// In which session; an old one is ignored.
        session: SessionId,
        /// Which attempt.
        attempt: AttemptId,
        /// How far it is.
        phase: Phase,
        /// What the job file says that the attempt has left, if it has ended and left one.
        generated: Option<Box<Generated>>,
    },
    /// An agent has looked what its cluster has for jobs. Writes nothing of that; but jobs may find room.
    Survey {
        /// Which cluster.
        cluster: ClusterName,
        /// In which session; an old one is ignored.
        session: SessionId,
        /// What there is.
        survey: Box<Survey>,
    },
    /// An agent says why an attempt does not go on. Writes nothing, ever.
    Waits {
        /// Which cluster.
        cluster: ClusterName,
        /// In which session; an old one is ignored.
        session: SessionId,
        /// Which attempt.
        attempt: AttemptId,
        /// In words; empty if nothing holds it up any more.
        reason: String,
    },
    /// An agent says that it has a volume. Writes nothing, ever.
    Holds {
        /// Which cluster.
        cluster: ClusterName,
        /// In which session; an old one is ignored.
        session: SessionId,
        /// Which volume.
        volume: VolumeId,
    },
    /// An agent says how far it is with an output that it was told to bring because another cluster is to go.
    Copied {
        /// Which cluster, and in which session; an old one is ignored.
        from: (ClusterName, SessionId),
        /// What it says.
        copied: Copied,
    },
    /// A connection ended. The lease goes on.
    Disconnect {
        /// Which cluster.
        cluster: ClusterName,
        /// Which session; an old one is ignored.
        session: SessionId,
    },
    /// Time has passed: leases and invites may have ended.
    Tick,
}

/// What becomes of the jobs that a cluster has when it takes no new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Present {
    /// They go on where they are. The jobs of a cluster that is disabled never do.
    Stay,
    /// They are placed elsewhere and begin anew, but for those that work with a volume which is only there.
    Move,
}

/// What keeps a cluster from being removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caution {
    /// What jobs need of it: it is refused while it has jobs, or outputs that jobs wait for and no other cluster has.
    Needs,
    /// Nothing: its jobs begin anew elsewhere, and those run again whose outputs are lost.
    None,
}

/// A build to be made.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its id.
    pub id: BuildId,
    /// Its project.
    pub project: ProjectId,
    /// What to do. Its graph has been checked.
    pub definition: BuildDefinition,
    /// The ids of its jobs, by index; as many as the definition has.
    pub jobs: Vec<JobId>,
    /// The manifest of its source.
    pub source: Option<Digest>,
    /// The version of the source.
    pub revision: Revision,
    /// Who submits it.
    pub submitted_by: String,
    /// What is known of its jobs from the build that it runs again; none for a new one.
    pub rerun: Option<Box<Rerun>>,
}

/// A build of a trigger.
#[derive(Debug, Clone)]
pub struct Firing {
    /// Which trigger of the submission's project.
    pub trigger: TriggerName,
    /// The time of its schedule that it is for; none if somebody asked for it.
    pub scheduled: Option<Timestamp>,
    /// The build.
    pub submission: Submission,
}

/// A build that runs (some of) another one again.
#[derive(Debug, Clone)]
pub struct Rerun {
    /// The number of the other one.
    pub of: u64,
    /// How often it was restarted, with this time.
    pub restarts: u32,
    /// What is known of each job, by index; as many as the definition has.
    pub jobs: Vec<Known>,
}

/// What is known of a job of a build that runs another one again.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// How it ended before, if it is taken over and does not run.
    pub ended: Option<JobStatus>,
    /// The job that made it while the earlier build ran, by index here.
    pub generated_by: Option<u32>,
    /// Of an array: how those of its indexes ended before that are taken over.
    pub indexes: Vec<JobStatus>,
}

/// What a job file says that an attempt has left.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The jobs, with ids of their own, and names and parents as in the file; or what is wrong with it.
    pub jobs: Result<Vec<(JobId, JobSpec)>, String>,
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing more to say.
    Done,
    /// The project.
    Project(Project),
    /// The token.
    Token(Token),
    /// The invite.
    Invite(Invite),
    /// The cluster that joined.
    Joined(Cluster),
    /// The cluster.
    Cluster(Cluster),
    /// The build that was submitted.
    Build(Build),
    /// The caches that were forgotten.
    Cleared(Vec<Cache>),
    /// How many jobs were cancelled; each index of an array is one.
    Cancelled(u64),
}

/// Why a command was not carried out. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What the command names does not exist.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// `project`, `cluster`, `build`, `job`, `invite`, `secret`, `trigger` or `token`.
        kind: &'static str,
        /// Which.
        name: String,
    },
    /// What the command would make exists.
    #[error("{kind} `{name}` exists already")]
    Exists {
        /// `project`, `cluster`, `build`, `invite` or `token`.
        kind: &'static str,
        /// Which.
        name: String,
    },
    /// The build has no jobs.
    #[error("a build needs at least one job")]
    NoJobs,
    /// The present state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// The invite is not (or no longer) valid. Why is not said to strangers.
    #[error("the invite is unknown, used or expired")]
    InvalidInvite,
    /// The attempt is not the one that counts, or not this cluster's. The agent may forget it.
    #[error("attempt {0} is not current on this cluster")]
    StaleAttempt(AttemptId),
    /// The session is not the cluster's present one.
    #[error("the session is over")]
    StaleSession,
    /// A limit would be passed.
    #[error("{0}")]
    Limit(String),
    /// It is larger than a limit lets anything be: to try again is of no use.
    #[error("{0}")]
    TooLarge(String),
    /// No cluster can do what a job asks for.
    #[error("{0}")]
    Unsupported(String),
    /// A job refers to secrets that its project does not have.
    #[error("{0}")]
    MissingSecrets(String),
}

impl Refusal {
    pub(super) fn not_found(kind: &'static str, name: &impl ToString) -> Self {
        let name = name.to_string();
        Self::NotFound { kind, name }
    }

    pub(super) fn exists(kind: &'static str, name: &impl ToString) -> Self {
        let name = name.to_string();
        Self::Exists { kind, name }
    }
}

/// What of a build is cancelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Extent {
    /// Its jobs, and not those for afterwards: these run now. If there is nothing else to cancel any more, they are.
    #[default]
    Jobs,
    /// All of it.
    Whole,
}
