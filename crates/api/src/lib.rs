//! The REST API's types, as the master serves them under `/api/v1` and its clients read them.
//!
//! Requests refuse fields that they do not know; answers may gain fields, and clients ignore what they do not know. Times
//! are RFC 3339 in UTC, sizes are whole numbers with the unit in the name, ids and digests are strings, enumerations are in
//! snake case.

pub mod array;
pub mod authority;
pub mod build;
pub mod cache;
pub mod cluster;
pub mod event;
pub mod exec;
pub mod explanation;
pub mod job;
pub mod limit;
pub mod log;
pub mod output;
pub mod path;
pub mod plan;
pub mod problem;
pub mod project;
pub mod queue;
pub mod secret;
pub mod source;
pub mod time;
pub mod token;
pub mod transfer;
pub mod trigger;
pub mod version;

pub use array::{Array, IndexList, StateCount};
pub use authority::{Authority, AuthorityRoot, CertificateState, ClusterCertificate, InviteRoot, OpenInvite};
pub use build::{Build, BuildList, BuildState, BuildSummary, JobFile, RerunBuild, Revision, SubmitBuild};
pub use cache::{Cache, CacheList};
pub use cluster::{
    Availability, ChangeCluster, ChangeLabels, Cluster, ClusterList, CreateInvite, Drain, Invite, InviteList,
    InviteState, InviteSummary, LabelledCluster, Nodes, Resources,
};
pub use event::{Progress, WatchEvent};
pub use explanation::{ClusterVerdict, Explanation, Miss};
pub use job::{Job, JobKind, JobState, OnDisconnect, Output, Parent, PhaseLimits, Preference, Recovery, Replaced, Try};
pub use log::LogItem;
pub use output::{EntryKind, OutputEntry, OutputListing};
pub use plan::{Plan, PlanBuild, PlanOutcome, PlannedIndexes, PlannedJob};
pub use problem::{Code, Fault, Problem};
pub use project::{
    ChangeProject, CreateProject, GoingBuild, Limits, Project, ProjectList, Retention, RetentionPlan, Share,
};
pub use queue::CancelledQueue;
pub use secret::{Secret, SecretList, SetSecret};
pub use source::{ChunkReference, MissingChunks, MissingChunksQuery};
pub use time::DateTime;
pub use token::{CreateToken, CreatedToken, Role, Token, TokenList, WhoAmI};
pub use transfer::{Input, RouteKind, RouteOutcome, RouteReport, Transfer, TransferList, TransferState};
pub use trigger::{CreateTrigger, RunTrigger, Trigger, TriggerList};
pub use version::Version;
