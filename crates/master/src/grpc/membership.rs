//! Who may call at all.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tombolo_core::name::ClusterName;
use tombolo_core::placement::Availability;
use tombolo_identity::member::{Member, PeerIdentity};
use tombolo_identity::transport;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::driver::Handle;
use crate::leadership::Tenure;

/// The only service for callers without a certificate.
const JOINING: &str = "/tombolo.agent.v1.Joining/";

/// The only service for clusters that are disabled.
const CONTROL: &str = "/tombolo.agent.v1.Control/";

/// The only service that the master calls on itself, to read outputs as a member.
const TUNNELS: &str = "/tombolo.transfer.v1.Tunnels/";

/// What agents are told by a master that another one may have followed: they come again, and find that one.
pub(super) fn leads_no_more() -> Status {
    Status::unavailable("this master does not lead any more")
}

/// The cluster that calls: a request extension of every call but joining.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) ClusterName);

/// The cluster that calls.
pub(super) fn caller(extensions: &Extensions) -> Result<ClusterName, Status> {
    let caller = extensions.get::<Caller>().map(|caller| caller.0.clone());
    caller.ok_or_else(|| Status::permission_denied("this is for clusters"))
}

/// Puts the check before all services.
#[derive(Clone)]
pub(super) struct MembershipLayer {
    handle: Handle,
    own: PeerIdentity,
    tenure: Tenure,
}

impl MembershipLayer {
    /// `own` is the identity of the master itself.
    pub(super) const fn new(handle: Handle, own: PeerIdentity, tenure: Tenure) -> Self {
        Self { handle, own, tenure }
    }
}

impl<S> Layer<S> for MembershipLayer {
    type Service = Membership<S>;

    fn layer(&self, inner: S) -> Membership<S> {
        Membership {
            inner,
            rules: self.clone(),
        }
    }
}

/// The check and what is behind it.
#[derive(Clone)]
pub(super) struct Membership<S> {
    inner: S,
    rules: MembershipLayer,
}

impl<S> Service<Request<Body>> for Membership<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that was polled for readiness is the one to be called.
        let fresh = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let rules = self.rules.clone();
        Box::pin(async move {
            if !rules.tenure.holds() {
                return Ok(leads_no_more().into_http());
            }
            if request.uri().path().starts_with(JOINING) {
                return inner.call(request).await;
            }
            let peer = transport::peer(request.extensions()).cloned();
            match rules.admit(peer.as_ref(), request.uri().path()).await {
                Ok(caller) => {
                    if let Some(caller) = caller {
                        request.extensions_mut().insert(Caller(caller));
                    }
                    inner.call(request).await
                }
                Err(status) => {
                    let peer = peer.map(|peer| peer.member.to_string());
                    let (path, reason) = (request.uri().path(), status.message());
                    tracing::info!(target: "audit", peer, path, reason, refused = true, "call");
                    Ok(status.into_http())
                }
            }
        })
    }
}

impl MembershipLayer {
    /// The cluster that calls; none if it is the master itself.
    async fn admit(&self, peer: Option<&PeerIdentity>, path: &str) -> Result<Option<ClusterName>, Status> {
        let peer = peer.ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?;
        match &peer.member {
            Member::Master if peer.key == self.own.key && path.starts_with(TUNNELS) => Ok(None),
            Member::Master => Err(Status::permission_denied("the master has no business here")),
            Member::Cluster(name) => {
                let (lookup, key) = (name.clone(), peer.key);
                let known = self.handle.query(move |control| {
                    let cluster = control.cluster(&lookup).filter(|cluster| cluster.record.key == key)?;
                    Some(cluster.record.availability)
                });
                match known.await {
                    // It may renew its certificate, so that it can come back; its session is refused by the control plane.
                    Ok(Some(Availability::Disabled)) if !path.starts_with(CONTROL) => Err(Status::unavailable(
                        format!("cluster {name} is disabled: `tombolo cluster enable {name}` lets it in again"),
                    )),
                    Ok(Some(_)) => Ok(Some(name.clone())),
                    Ok(None) => Err(Status::permission_denied(
                        "the cluster was removed, or joined with another key",
                    )),
                    Err(error) => Err(Status::unavailable(error.to_string())),
                }
            }
        }
    }
}
