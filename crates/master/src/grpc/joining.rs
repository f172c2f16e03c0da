//! How a cluster joins.

use std::sync::Arc;

use tombolo_core::control::{Command, Reply};
use tombolo_core::name::ClusterName;
use tombolo_identity::authority::{self, request_key};
use tombolo_identity::invite::secret_digest;
use tombolo_identity::member::Member;
use tombolo_identity::transport::ConnectionInfo;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::joining_server;
use tonic::{Request, Response, Status};

use super::Services;
use crate::bootstrap::Foundation;
use crate::clock::Clock;
use crate::driver::{ApplyError, Handle};
use crate::pace::Pace;

/// The length of an invite's secret.
const SECRET_BYTES: usize = 32;

pub(super) struct Joining {
    handle: Handle,
    foundation: Arc<Foundation>,
    clock: Arc<dyn Clock>,
    pace: Pace,
}

impl Joining {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            handle: services.handle.clone(),
            foundation: services.foundation.clone(),
            clock: services.clock.clone(),
            pace: services.joins.clone(),
        }
    }
}

#[tonic::async_trait]
impl joining_server::Joining for Joining {
    async fn join(&self, request: Request<wire::JoinRequest>) -> Result<Response<wire::JoinResponse>, Status> {
        let remote = request
            .extensions()
            .get::<ConnectionInfo>()
            .and_then(|info| info.remote);
        let remote = remote.map(tracing::field::display);
        self.pace.take().map_err(|error| {
            tracing::info!(target: "audit", remote, reason = %error, refused = true, "join");
            // Agents try again by themselves.
            Status::unavailable(format!("too many clusters try to join: {error}"))
        })?;
        let request = request.into_inner();
        if request.secret.len() != SECRET_BYTES {
            return Err(Status::invalid_argument("the secret of an invite has 32 bytes"));
        }
        let key = request_key(&request.signing_request).map_err(|error| refused_request(&error))?;
        let command = Command::Join {
            secret: secret_digest(&request.secret),
            key,
        };
        let cluster = match self.handle.apply(command).await {
            Ok(Reply::Joined(cluster)) => cluster,
            Ok(reply) => {
                tracing::error!(?reply, "a command's reply is of another kind");
                return Err(Status::internal("the master failed to take the cluster in"));
            }
            Err(error) => {
                tracing::info!(target: "audit", remote, reason = %error, refused = true, "join");
                return Err(refused(&error));
            }
        };
        let name = cluster.name;
        tracing::info!(target: "audit", remote, cluster = %name, refused = false, "join");
        let credentials = credentials(&self.foundation, &request.signing_request, &name, self.clock.as_ref())?;
        Ok(Response::new(wire::JoinResponse {
            cluster: name.into(),
            trust_domain: self.foundation.trust.domain().to_string(),
            credentials: Some(credentials),
        }))
    }
}

/// A certificate for the key that the request proves, and whom to believe.
pub(super) fn credentials(
    foundation: &Foundation,
    signing_request: &[u8],
    cluster: &ClusterName,
    clock: &dyn Clock,
) -> Result<wire::Credentials, Status> {
    let member = Member::Cluster(cluster.clone());
    let signed = foundation.authority.sign(signing_request, &member, clock.now().wall);
    let chain = signed.map_err(|error| refused_request(&error))?;
    let roots = foundation.trust.roots();
    let below_root = chain
        .certificates()
        .iter()
        .filter(|certificate| !roots.contains(certificate));
    Ok(wire::Credentials {
        chain: below_root.map(|certificate| certificate.to_vec()).collect(),
        roots: roots.iter().map(|root| root.to_vec()).collect(),
        grant_key: foundation.signer.public_point().to_vec(),
    })
}

pub(super) fn refused_request(error: &authority::Error) -> Status {
    match error {
        authority::Error::Request(_) => Status::invalid_argument(error.to_string()),
        error => {
            tracing::error!(%error, "a certificate was not signed");
            Status::internal("the master could not sign the certificate")
        }
    }
}

fn refused(error: &ApplyError) -> Status {
    match error {
        ApplyError::Refused(refusal) => Status::permission_denied(refusal.to_string()),
        error => Status::unavailable(error.to_string()),
    }
}
