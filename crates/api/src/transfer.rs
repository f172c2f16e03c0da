//! How outputs and sources come to clusters.

use serde::{Deserialize, Serialize};
use tombolo_core::attempt::{self, TransferReceipt};
use tombolo_core::digest::Digest;
use tombolo_core::name::{ClusterName, JobName};
use utoipa::ToSchema;

/// All transfers of a build that have begun, in the order of its jobs and their inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransferList {
    /// Them.
    pub transfers: Vec<Transfer>,
}

/// One input on its way to a job, or there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transfer {
    /// Its name within the project: `<build>:<job>:<parent>`, without the last part for the build's source; with `@cache` as the
    /// last part for the job's cache.
    pub id: String,
    /// The job that it is for.
    #[schema(value_type = String)]
    pub job: JobName,
    /// The parent whose output it is; none for the build's source and the job's cache.
    #[schema(value_type = Option<String>)]
    pub parent: Option<JobName>,
    /// It is the job's cache.
    #[serde(default)]
    pub cache: bool,
    /// Where it stands.
    pub state: TransferState,
    /// The cluster that it comes from; none for the master.
    #[schema(value_type = Option<String>)]
    pub from: Option<ClusterName>,
    /// The cluster that it goes to.
    #[schema(value_type = Option<String>)]
    pub to: Option<ClusterName>,
    /// The way that brought most so far.
    pub route: RouteKind,
    /// The size of its files.
    pub bytes: u64,
    /// How much of that is there.
    pub done_bytes: u64,
    /// What crossed the link so far, compressed and without what was there already.
    pub moved_bytes: u64,
    /// How long it took, or has taken so far.
    pub milliseconds: u64,
    /// How much content comes in a second, or came on the average; none before that is known.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// How long the rest takes at this rate; none if nothing is left, or that is not known.
    #[serde(default)]
    pub milliseconds_left: Option<u64>,
    /// The digest of its manifest, checked at arrival; none before.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// The ways that were considered, in the order in which they were to be asked; none if it was there already, and before it is
    /// there.
    pub routes: Vec<RouteReport>,
    /// It came before the job was placed, while that waited for other jobs or for room.
    pub prefetched: bool,
    /// Why it did not come; none if it did, or still may.
    #[serde(default)]
    pub failure: Option<String>,
}

/// Where a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferState {
    /// It is on its way.
    Moving,
    /// It is there, whole and checked.
    Done,
    /// It did not come. What has come of it stays, for whoever tries again.
    Failed,
}

impl TransferState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// How one input came to the job's cluster: an edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Input {
    /// The parent whose output it is; none for the build's source and the job's cache.
    #[schema(value_type = Option<String>)]
    pub parent: Option<JobName>,
    /// It is the job's cache.
    #[serde(default)]
    pub cache: bool,
    /// The cluster that it came from; none for the master.
    #[schema(value_type = Option<String>)]
    pub from: Option<ClusterName>,
    /// The way.
    pub route: RouteKind,
    /// The digest of its manifest, checked at arrival.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// The size of its files.
    pub bytes: u64,
    /// What crossed the link, compressed and without what was there already.
    pub moved_bytes: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// The ways that were considered, in the order in which they were to be asked; none if it was there already.
    pub routes: Vec<RouteReport>,
    /// It came before the job was placed, while that waited for other jobs or for room.
    pub prefetched: bool,
    /// Why it did not come; none if it did.
    #[serde(default)]
    pub failure: Option<String>,
}

impl From<TransferReceipt> for Input {
    fn from(receipt: TransferReceipt) -> Self {
        Self {
            parent: receipt.parent,
            cache: receipt.cache,
            from: receipt.from,
            route: receipt.route.into(),
            digest: receipt.manifest,
            bytes: receipt.bytes,
            moved_bytes: receipt.moved_bytes,
            milliseconds: receipt.milliseconds,
            routes: receipt.routes.into_iter().map(Into::into).collect(),
            prefetched: receipt.prefetched,
            failure: receipt.failure,
        }
    }
}

/// A way that was considered for an input, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RouteReport {
    /// The cluster at its other end; none for the master.
    #[schema(value_type = Option<String>)]
    pub from: Option<ClusterName>,
    /// The way.
    pub route: RouteKind,
    /// What came by it, in bytes as they crossed the link.
    pub moved_bytes: u64,
    /// What became of it.
    pub outcome: RouteOutcome,
    /// Why, if it failed or was not available.
    pub reason: Option<String>,
}

/// What became of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteOutcome {
    /// All that was asked of it came.
    Used,
    /// It did not give what it was asked for, at least once.
    Failed,
    /// A better one gave everything.
    NotNeeded,
    /// There is no such way between the two.
    Unavailable,
}

impl From<attempt::RouteReport> for RouteReport {
    fn from(report: attempt::RouteReport) -> Self {
        let (outcome, reason) = match report.outcome {
            attempt::RouteOutcome::Used => (RouteOutcome::Used, None),
            attempt::RouteOutcome::Failed(reason) => (RouteOutcome::Failed, Some(reason)),
            attempt::RouteOutcome::NotNeeded => (RouteOutcome::NotNeeded, None),
            attempt::RouteOutcome::Unavailable(reason) => (RouteOutcome::Unavailable, Some(reason)),
        };
        Self {
            from: report.from,
            route: report.route.into(),
            moved_bytes: report.moved_bytes,
            outcome,
            reason,
        }
    }
}

/// The ways that content can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// Already in the destination's store.
    Local,
    /// Straight from the bucket of the cluster that has it, by requests that its agent has signed.
    Signed,
    /// From agent to agent, dialled by the one that wants it.
    Peer,
    /// From agent to agent, dialled by the one that has it.
    ReversePeer,
    /// Through the master, which sees ciphertext.
    Relay,
    /// From the master's own store (the source of a build).
    Master,
}

impl RouteKind {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Signed => "signed",
            Self::Peer => "peer",
            Self::ReversePeer => "reverse_peer",
            Self::Relay => "relay",
            Self::Master => "master",
        }
    }
}

impl From<attempt::RouteKind> for RouteKind {
    fn from(route: attempt::RouteKind) -> Self {
        match route {
            attempt::RouteKind::Local => Self::Local,
            attempt::RouteKind::Signed => Self::Signed,
            attempt::RouteKind::Peer => Self::Peer,
            attempt::RouteKind::ReversePeer => Self::ReversePeer,
            attempt::RouteKind::Relay => Self::Relay,
            attempt::RouteKind::Master => Self::Master,
        }
    }
}
