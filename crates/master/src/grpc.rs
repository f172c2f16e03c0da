//! gRPC for agents.
//!
//! Every call passes [`membership`] first: who calls is what the certificate of the connection says, and a cluster's key must be
//! the one that the control plane knows. Only joining is open to strangers.

mod bulk;
mod control;
mod generated;
mod joining;
mod membership;
mod offers;
mod session;

use std::io;
use std::sync::Arc;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tombolo_core::id::AttemptId;
use tombolo_identity::transport::{Connection, http2};
use tombolo_proto::agent::v1::bulk_server::BulkServer;
use tombolo_proto::agent::v1::control_server::ControlServer;
use tombolo_proto::agent::v1::joining_server::JoiningServer;
use tombolo_transfer::peer::ChunkService;
use tombolo_transfer::tunnel::Switchboard;

pub use offers::Offers;

use crate::Database;
use crate::bootstrap::Foundation;
use crate::certificates::Certificates;
use crate::clock::Clock;
use crate::definitions::Definitions;
use crate::driver::Handle;
use crate::leadership::Tenure;
use crate::logs::Logs;
use crate::pace::Pace;
use crate::secrets::Secrets;
use crate::tasks::Tasks;

/// The largest hello or report that is read: a hello lists up to some ten thousand attempts, some with the receipts of their
/// inputs.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The largest batch of log lines that is read.
const MAX_LOG_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The largest request of a stranger: an invite's secret and a certificate signing request.
const MAX_JOIN_BYTES: usize = 32 * 1024;

/// What the services need.
#[derive(Clone)]
pub struct Services {
    /// The driver.
    pub handle: Handle,
    /// What is over, and what is not.
    pub store: Arc<Database>,
    /// Logs of jobs.
    pub logs: Logs,
    /// What job files say.
    pub definitions: Definitions,
    /// Secrets of projects.
    pub secrets: Secrets,
    /// Who the master is.
    pub foundation: Arc<Foundation>,
    /// Which certificates clusters have shown.
    pub certificates: Certificates,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whom a tunnel can be offered to.
    pub offers: Offers,
    /// The owner of the sessions' tasks.
    pub tasks: Tasks,
    /// The settings of sessions.
    pub session: tombolo_core::session::master::Settings,
    /// How often clusters may try to join.
    pub joins: Pace,
    /// For how long the master may act as the leader.
    pub tenure: Tenure,
    /// Cancelled when the process is to end.
    pub stopping: CancellationToken,
}

impl Services {
    /// Brings the log of an attempt that is over into its final form.
    fn seal(&self, attempt: AttemptId) {
        let logs = self.logs.clone();
        let sealing = async move {
            if let Err(error) = logs.seal(attempt).await {
                tracing::debug!(%attempt, %error, "a log was not sealed");
            }
        };
        if self.tasks.spawn("seal", sealing).is_err() {
            tracing::debug!(%attempt, "a log was not sealed: too much to do");
        }
    }
}

/// Serves on the connections of `incoming` until `stopping` is cancelled. Whoever cancels it closes the connections too: streams do not end by themselves.
pub async fn serve<S>(
    services: Services,
    switchboard: Switchboard<Offers>,
    sources: ChunkService,
    incoming: impl Stream<Item = io::Result<Connection<S>>>,
) -> Result<(), tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stopping = services.stopping.clone();
    let own = services.foundation.identity.peer_identity();
    let joining = JoiningServer::new(joining::Joining::new(&services)).max_decoding_message_size(MAX_JOIN_BYTES);
    let control = ControlServer::new(control::Control::new(&services)).max_decoding_message_size(MAX_FRAME_BYTES);
    let bulk = BulkServer::new(bulk::Bulk::new(&services)).max_decoding_message_size(MAX_LOG_BATCH_BYTES);
    http2::server()
        .layer(membership::MembershipLayer::new(services.handle, own, services.tenure))
        .add_service(joining)
        .add_service(control)
        .add_service(bulk)
        .add_service(switchboard.service())
        .add_service(sources.server())
        .serve_with_incoming_shutdown(incoming, stopping.cancelled_owned())
        .await
}
