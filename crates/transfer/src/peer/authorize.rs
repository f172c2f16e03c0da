//! Who may read what, and who sees to what is not whole.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::time::Timestamp;
use tombolo_identity::grant::Verifier;
use tombolo_identity::tls::Identity;
use tombolo_identity::transport;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};

/// What a caller may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Readable {
    /// The project that the artifact belongs to.
    pub project: ProjectId,
    /// The digest of the artifact's manifest.
    pub manifest: Digest,
}

/// Decides what a caller may read.
pub trait Authorize: Send + Sync + 'static {
    /// What the caller may read, by the right that it shows.
    ///
    /// # Errors
    /// The status for a caller that may not. It must tell nothing of what there is.
    fn authorize(&self, caller: &Caller<'_>, right: &[u8]) -> Result<Readable, Status>;

    /// Who sees to what this caller may read and is not whole here, if somebody does.
    fn remedy(&self, _: &Caller<'_>) -> Option<Arc<dyn Remedy>> {
        None
    }
}

/// Sees to it that an artifact that is not whole in the store any more comes again.
pub trait Remedy: Send + Sync {
    /// Notes that something of it is missing or damaged. Whether it is being brought again: a caller that comes back will get it, or
    /// is told otherwise by other means.
    fn bring_again(&self, artifact: Readable) -> bool;
}

/// Who calls.
#[derive(Debug)]
pub struct Caller<'request> {
    /// What came with the call.
    pub metadata: &'request MetadataMap,
    /// What the connection knows of the caller.
    pub extensions: &'request http::Extensions,
}

impl<'request> Caller<'request> {
    pub(super) fn of<T>(request: &'request Request<T>) -> Self {
        Self {
            metadata: request.metadata(),
            extensions: request.extensions(),
        }
    }
}

/// Members that show a grant, checked against the keys that this identity trusts at that time.
pub(super) struct Grants(pub(super) Identity);

impl Authorize for Grants {
    fn authorize(&self, caller: &Caller<'_>, right: &[u8]) -> Result<Readable, Status> {
        let peer = transport::peer(caller.extensions);
        let reader = &peer
            .ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?
            .member;
        let verifier = Verifier::new(&self.0.trust());
        let grant = verifier.check(right, reader, now()).map_err(|error| {
            tracing::warn!(%reader, %error, "grant refused");
            Status::permission_denied(error.to_string())
        })?;
        Ok(Readable {
            project: grant.project,
            manifest: grant.manifest,
        })
    }
}

/// What a caller is told of a failure if somebody brings the artifact again.
pub(super) fn remedied(status: Status, artifact: Readable, remedy: Option<&dyn Remedy>) -> Status {
    let is_lost = matches!(status.code(), Code::NotFound | Code::DataLoss);
    if is_lost && remedy.is_some_and(|remedy| remedy.bring_again(artifact)) {
        return Status::unavailable(format!("{}; it is being brought again", status.message()));
    }
    status
}

fn now() -> Timestamp {
    // A clock before 1970 makes no grant valid for longer: it counts as the end of time.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_millis());
    Timestamp(
        since
            .ok()
            .and_then(|milliseconds| u64::try_from(milliseconds).ok())
            .unwrap_or(u64::MAX),
    )
}
