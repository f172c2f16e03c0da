//! The control connection: session and renewal.

use futures::StreamExt;
use futures::stream::Map;
use http::Extensions;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_core::name::ClusterName;
use tombolo_identity::authority::request_key;
use tombolo_identity::transport;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::control_server;
use tonic::{Request, Response, Status, Streaming};

use super::joining::{credentials, refused_request};
use super::membership::caller;
use super::session::Link;
use super::{Services, session};

/// Frames that wait to be sent to one agent. A slow reader makes its own session wait, and nobody else's.
const OUTGOING_FRAMES: usize = 64;

/// A frame on its way to the stream. A channel holds room for 32 of them from its beginning, and a frame has more than a KiB: in a box, an
/// agent that has nothing to do costs the master a third less.
pub(super) type Outgoing = Result<Box<wire::MasterFrame>, Status>;

type Frames = Map<ReceiverStream<Outgoing>, fn(Outgoing) -> Result<wire::MasterFrame, Status>>;

fn unbox(frame: Outgoing) -> Result<wire::MasterFrame, Status> {
    frame.map(|frame| *frame)
}

pub(super) struct Control {
    services: Services,
}

impl Control {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            services: services.clone(),
        }
    }

    /// The caller uses the certificate of this connection from now on.
    fn note_certificate(&self, cluster: &ClusterName, extensions: &Extensions) {
        if let (Some(peer), Some(shown)) = (transport::peer(extensions), transport::shown(extensions)) {
            let certificates = &self.services.certificates;
            certificates.note(cluster.clone(), peer.key, shown.clone());
        }
    }
}

#[tonic::async_trait]
impl control_server::Control for Control {
    type SessionStream = Frames;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let cluster = caller(request.extensions())?;
        self.note_certificate(&cluster, request.extensions());
        let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES);
        let link = Link {
            cluster,
            incoming: request.into_inner(),
            outgoing,
        };
        let started = self
            .services
            .tasks
            .spawn("session", session::run(self.services.clone(), link));
        started.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(ReceiverStream::new(frames).map(unbox as fn(_) -> _)))
    }

    async fn renew(&self, request: Request<wire::RenewRequest>) -> Result<Response<wire::RenewResponse>, Status> {
        let cluster = caller(request.extensions())?;
        let shown = transport::peer(request.extensions()).map(|peer| peer.key);
        let signing_request = request.into_inner().signing_request;
        let proven = request_key(&signing_request).map_err(|error| refused_request(&error))?;
        if shown != Some(proven) {
            tracing::info!(target: "audit", %cluster, reason = "another key", refused = true, "renew");
            return Err(Status::permission_denied(
                "a certificate is renewed for the same key only",
            ));
        }
        let clock = self.services.clock.as_ref();
        let credentials = credentials(&self.services.foundation, &signing_request, &cluster, clock)?;
        tracing::debug!(%cluster, "certificate renewed");
        Ok(Response::new(wire::RenewResponse {
            credentials: Some(credentials),
        }))
    }

    async fn confirm(&self, request: Request<wire::ConfirmRequest>) -> Result<Response<wire::ConfirmResponse>, Status> {
        let cluster = caller(request.extensions())?;
        self.note_certificate(&cluster, request.extensions());
        Ok(Response::new(wire::ConfirmResponse {}))
    }
}
