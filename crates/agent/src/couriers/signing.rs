//! Requests to the store that are signed for couriers: uploads of chunks that are absent, and reads of an attempt's inputs.

use secrecy::ExposeSecret;
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_core::id::AttemptId;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::prepare_download_response::Way as DownloadRoute;
use tombolo_proto::courier::v1::prepare_upload_response::Way as UploadRoute;
use tombolo_transfer::ChunkStore;
use tombolo_transfer::direct::{SignedRequest, UploadTerms};
use tombolo_transfer::peer::{ChunkService, Readable};
use tombolo_transfer::store::{Audience, UploadWay};
use tonic::Status;

use super::caution::Caution;
use super::ledger::LIFE;
use super::upload::status;
use super::visit::Expected;
use crate::incoming::digest;

/// The longest reason of a pod that goes into the log.
const REASON_CHARACTERS: usize = 300;

/// Signs for one store.
pub(super) struct Signing {
    store: ChunkStore,
    /// Knows the manifests of inputs.
    chunks: ChunkService,
    caution: Caution,
}

impl Signing {
    pub(super) fn new(store: ChunkStore, chunks: ChunkService) -> Self {
        let caution = Caution::default();
        Self { store, chunks, caution }
    }

    pub(super) async fn describe(&self) -> Result<wire::StoreDescription, Status> {
        if !self.caution.allows() {
            return Ok(wire::StoreDescription::default());
        }
        let reachable = self.store.reachable().await.map_err(|error| status(&error))?;
        Ok(wire::StoreDescription {
            uploads: reachable.uploads,
            downloads: reachable.downloads,
            wants_md5: reachable.wants_md5,
            certificates: reachable.certificates.unwrap_or_default(),
        })
    }

    /// How the chunk is to be sent.
    pub(super) async fn upload(
        &self,
        attempt: AttemptId,
        expected: &Expected,
        request: &wire::PrepareUploadRequest,
    ) -> Result<UploadRoute, Status> {
        let digest = digest(&request.digest)?;
        let sha256 = <[u8; 32]>::try_from(&request.sha256[..]);
        let sha256 = sha256.map_err(|_| Status::invalid_argument("a SHA-256 has 32 bytes"))?;
        let md5 = match &request.md5[..] {
            [] => None,
            md5 => Some(<[u8; 16]>::try_from(md5).map_err(|_| Status::invalid_argument("an MD5 has 16 bytes"))?),
        };
        let bytes = request.bytes;
        if bytes == 0 || bytes > u64::from(MAXIMUM_STORED_CHUNK_BYTES) {
            return Err(Status::invalid_argument(format!("no stored chunk has {bytes} bytes")));
        }
        if !expected.ledger.enter(digest, bytes) {
            tracing::debug!(%attempt, "no more uploads are signed for now");
            return Ok(UploadRoute::ThroughAgent(wire::ThroughAgent {}));
        }
        let terms = UploadTerms { bytes, sha256, md5 };
        let way = self
            .store
            .sign_upload(expected.duty.project, digest, &terms, LIFE)
            .await;
        let route = match way {
            Ok(UploadWay::Signed(request)) => return Ok(UploadRoute::Signed(wire_request(&request))),
            Ok(UploadWay::Present) => Ok(UploadRoute::Present(wire::Present {})),
            Ok(UploadWay::Owner) => Ok(UploadRoute::ThroughAgent(wire::ThroughAgent {})),
            Err(error) => Err(status(&error)),
        };
        expected.ledger.close(digest, false);
        route
    }

    /// Whether a chunk whose upload was signed is there.
    pub(super) async fn confirm(&self, expected: &Expected, named: &[u8]) -> Result<bool, Status> {
        let digest = digest(named)?;
        let Some(bytes) = expected.ledger.signed(digest) else {
            // Of an earlier agent, or repeated: what is there is there.
            let present = self.store.has_chunk(expected.duty.project, digest).await;
            return present.map_err(|error| status(&error));
        };
        let project = expected.duty.project;
        let stored = self.store.confirm_upload(project, digest, bytes).await;
        let stored = stored.map_err(|error| status(&error))?;
        expected.ledger.close(digest, stored);
        if stored {
            self.caution.succeeded();
        }
        Ok(stored)
    }

    /// The pod cannot use the store: nothing is signed for it any more.
    pub(super) fn renounce(&self, attempt: AttemptId, expected: &Expected, reason: &str) {
        if !expected.ledger.renounce() {
            return;
        }
        let reason: String = reason
            .chars()
            .filter(|character| !character.is_control())
            .take(REASON_CHARACTERS)
            .collect();
        tracing::warn!(
            %attempt,
            reason,
            "the pod cannot use the store directly: its chunks go through the agent (`store.direct_endpoint` is where pods reach the store)"
        );
        self.caution.failed();
    }

    /// Looks after all uploads that were signed and not confirmed: a manifest may name them.
    pub(super) async fn settle(&self, expected: &Expected) -> Result<(), Status> {
        for (digest, bytes) in expected.ledger.open() {
            let stored = self.store.confirm_upload(expected.duty.project, digest, bytes).await;
            if stored.map_err(|error| status(&error))? {
                expected.ledger.close(digest, true);
            }
        }
        Ok(())
    }

    /// How a chunk of an input is to be read.
    pub(super) async fn download(
        &self,
        attempt: AttemptId,
        expected: &Expected,
        request: &wire::PrepareDownloadRequest,
    ) -> Result<DownloadRoute, Status> {
        let manifest = digest(&request.manifest)?;
        if !expected.duty.may_read(manifest) {
            tracing::warn!(%attempt, "a courier asks for what is no input of its attempt");
            return Err(Status::permission_denied("this is no input of the attempt"));
        }
        let project = expected.duty.project;
        let chunk = self
            .chunks
            .reference(Readable { project, manifest }, request.chunk)
            .await?;
        let signed = self
            .store
            .sign_download(project, chunk.digest, LIFE, Audience::Pod)
            .await;
        match signed.map_err(|error| status(&error))? {
            Some(request) if expected.ledger.read() => Ok(DownloadRoute::Signed(wire::SignedChunk {
                request: Some(wire_request(&request)),
                digest: chunk.digest.as_bytes().to_vec(),
                length: chunk.length,
            })),
            _ => Ok(DownloadRoute::ThroughAgent(wire::ThroughAgent {})),
        }
    }
}

fn wire_request(request: &SignedRequest) -> wire::SignedRequest {
    let headers = request.headers().iter().filter_map(|(name, value)| {
        Some(wire::Header {
            name: name.as_str().to_owned(),
            value: value.to_str().ok()?.to_owned(),
        })
    });
    wire::SignedRequest {
        url: request.url().expose_secret().to_owned(),
        headers: headers.collect(),
    }
}
