//! REST for users: what the command line and the dashboard talk to.
//!
//! Every handler has an extractor of [`authorization`] among its arguments; a test calls every route of the OpenAPI document
//! with every role to hold that. Errors are problem documents ([`Error`]).

mod array;
mod audit;
mod authority;
mod authorization;
mod backup;
mod build;
mod cache;
mod cluster;
mod drain;
mod error;
mod events;
mod exec;
mod extract;
mod guard;
mod health;
mod invite;
mod job;
mod kept;
mod log;
mod losses;
mod openapi;
mod output;
mod page;
mod plan;
mod produced;
mod project;
mod queue;
mod rerun;
mod secret;
mod server;
mod share;
mod source;
mod token;
mod transfer;
mod trigger;
mod version;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tombolo_core::control::Reply;
use tombolo_core::name::ClusterName;
use tombolo_identity::invite::{Error as InviteError, Invite};
use tombolo_identity::member::TrustDomain;
use tombolo_identity::transport::Connections;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub use error::Error;
pub use openapi::document;
pub(crate) use produced::Sink;
#[cfg(test)]
pub(crate) use produced::{Produced, produced};
pub(crate) use server::Answering;
pub use server::{Limits as ServerLimits, serve};

use crate::Database;
use crate::backup::Maker;
use crate::bootstrap::Foundation;
use crate::certificates::Certificates;
use crate::clock::{self, Clock};
use crate::configuration::Limits;
use crate::definitions::Definitions;
use crate::driver::Handle;
use crate::exec::Exec;
use crate::leadership::Tenure;
use crate::logs::Logs;
use crate::outputs::Outputs;
use crate::pace::Pace;
use crate::retention::Retention;
use crate::secrets::Secrets;
use crate::sources::Sources;
use crate::triggers::Triggers;

/// How many requests are carried out at once; more are told to come again. Each may hold a body of a few MiB.
const REQUESTS_AT_ONCE: usize = 256;

/// How many streams (events, logs that are followed, downloads) are open at once. Each holds a few hundred KiB at most.
const STREAMS_AT_ONCE: usize = 1000;

/// What the handlers need.
pub struct Application {
    /// The driver.
    pub handle: Handle,
    /// What is over, and what is not.
    pub store: Arc<Database>,
    /// Logs of jobs.
    pub logs: Logs,
    /// Sources of builds.
    pub sources: Sources,
    /// What job files say.
    pub definitions: Definitions,
    /// Outputs of jobs, wherever they are.
    pub outputs: Outputs,
    /// What outputs go.
    pub retention: Retention,
    /// Backups of this master.
    pub(crate) backups: Maker,
    /// Builds by a schedule.
    pub triggers: Triggers,
    /// Secrets of projects.
    pub secrets: Secrets,
    /// Sessions of users with running jobs.
    pub exec: Exec,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The agents' connections.
    pub connections: Connections,
    /// Who the master is.
    pub foundation: Arc<Foundation>,
    /// Which certificates clusters have shown.
    pub certificates: Certificates,
    /// What invites say.
    pub invitation: Invitation,
    /// Where users see the master, without a trailing slash.
    pub public_url: String,
    /// For how long the master may act as the leader.
    pub tenure: Tenure,
    /// Cancelled when the process is to end.
    pub stopping: CancellationToken,
    /// What requests may use up together.
    pub capacity: Capacity,
}

/// What all invites of an installation have in common.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// Where agents reach the master: `host:port`, in the order to try.
    pub addresses: Vec<String>,
    /// The trust domain.
    pub domain: TrustDomain,
    /// The CA's pin.
    pub pin: String,
}

/// What requests may use up together.
#[derive(Debug, Clone)]
pub struct Capacity {
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    uploads: source::UploadBudget,
    invites: Pace,
}

impl Capacity {
    /// Within these limits.
    pub fn new(limits: &Limits) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            streams: Arc::new(Semaphore::new(STREAMS_AT_ONCE)),
            uploads: source::UploadBudget::default(),
            invites: Pace::per_minute(limits.invites_per_minute),
        }
    }
}

impl Application {
    fn fresh_id(&self) -> Uuid {
        clock::fresh_id(&*self.clock)
    }

    /// The right to hold one more stream open.
    fn stream_permit(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.capacity
            .streams
            .clone()
            .try_acquire_owned()
            .map_err(|_| events::too_many_streams())
    }

    fn new_invite(&self, cluster: &ClusterName) -> Result<Invite, InviteError> {
        let Invitation { addresses, domain, pin } = self.invitation.clone();
        Invite::generate(addresses, domain, pin, cluster.clone())
    }
}

/// All routes, with everything around them.
pub fn router(application: Arc<Application>) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = openapi::Served::new(&document);
    router
        .merge(page::routes())
        .fallback(guard::unknown_path)
        .method_not_allowed_fallback(guard::unknown_method)
        .layer(axum::Extension(document))
        .layer(from_fn_with_state(application.clone(), guard::check))
        .layer(CatchPanicLayer::custom(guard::Panicked))
        .layer(from_fn(audit::record))
        .with_state(application)
}

/// All routes, with their description.
fn routes() -> OpenApiRouter<Arc<Application>> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(version::show_version))
        .routes(routes!(openapi::show_openapi))
        .routes(routes!(token::whoami))
        .routes(routes!(token::list_tokens, token::create_token))
        .routes(routes!(token::revoke_token))
        .routes(routes!(project::list_projects, project::create_project))
        .routes(routes!(
            project::show_project,
            project::change_project,
            project::delete_project
        ))
        .routes(routes!(project::plan_retention))
        .routes(routes!(share::set_share))
        .routes(routes!(cache::list_caches, cache::clear_caches))
        .routes(routes!(secret::list_secrets))
        .routes(routes!(secret::set_secret, secret::delete_secret))
        .routes(routes!(trigger::list_triggers, trigger::create_trigger))
        .routes(routes!(trigger::show_trigger, trigger::delete_trigger))
        .routes(routes!(trigger::run_trigger))
        .routes(routes!(build::list_builds, build::submit_build))
        .routes(routes!(plan::plan_build))
        .routes(routes!(build::show_build))
        .routes(routes!(build::cancel_build))
        .routes(routes!(queue::cancel_queue))
        .routes(routes!(rerun::rerun_build))
        .routes(routes!(events::watch_build))
        .routes(routes!(job::show_job))
        .routes(routes!(job::cancel_job))
        .routes(routes!(job::explain_job))
        .routes(routes!(array::list_indexes))
        .routes(routes!(transfer::list_transfers))
        .routes(routes!(exec::exec_job))
        .routes(routes!(log::read_log))
        .routes(routes!(output::list_output))
        .routes(routes!(output::download_archive))
        .routes(routes!(output::download_file))
        .routes(routes!(output::list_sums))
        .routes(routes!(source::missing_chunks))
        .routes(routes!(source::upload_chunk))
        .routes(routes!(source::upload_manifest))
        .routes(routes!(backup::make_backup))
        .routes(routes!(authority::show_authority))
        .routes(routes!(cluster::list_clusters))
        .routes(routes!(invite::list_invites, invite::create_invite))
        .routes(routes!(invite::withdraw_invites))
        .routes(routes!(
            cluster::show_cluster,
            cluster::change_cluster,
            cluster::remove_cluster
        ))
        .routes(routes!(cluster::change_labels))
}

fn unexpected_reply(reply: &Reply) -> Error {
    Error::internal("a command's reply is of another kind", format_args!("{reply:?}"))
}
