//! From the pod to the store.

use std::sync::Arc;

use bytes::Bytes;
use futures::{TryStreamExt, stream};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::task::spawn_blocking;
use tombolo_artifact::StoredChunk;
use tombolo_core::digest::Digest;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::prepare_upload_response::Way;
use tombolo_transfer::direct::UploadTerms;
use tombolo_transfer::remote::uploads;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{Direct, MESSAGE_BYTES, Shared, within};
use crate::incoming::Received;

/// Chunks of one call that are under way at once.
const WRITES_AT_ONCE: usize = 4;

type Codec = ProstCodec<wire::PutChunksResponse, wire::ChunkUpload>;

impl Direct {
    /// Answers the pod's `PutChunks`.
    pub(in super::super) async fn put_chunks(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = service_fn(|request: tonic::Request<Streaming<wire::ChunkUpload>>| {
            let shared = Arc::clone(&self.shared);
            async move {
                shared.put_all(request.into_inner()).await?;
                Ok::<_, Status>(tonic::Response::new(wire::PutChunksResponse {}))
            }
        });
        let mut server = Grpc::new(Codec::default()).apply_max_message_size_config(Some(MESSAGE_BYTES), None);
        server.client_streaming(answer, request).await
    }
}

impl Shared {
    async fn put_all(&self, messages: Streaming<wire::ChunkUpload>) -> Result<(), Status> {
        let writes = self.incoming.chunks(messages);
        writes
            .try_for_each_concurrent(WRITES_AT_ONCE, |chunk| self.put(chunk))
            .await
    }

    /// Brings one chunk into the store, by whichever way.
    async fn put(&self, received: Received) -> Result<(), Status> {
        let Received { digest, data, share } = received;
        // The job could else have us write anything under the name of a chunk that other jobs will make.
        let object = data.clone();
        let with_md5 = self.access().await.is_some_and(|access| access.wants_md5);
        let verify = move || {
            let terms = if with_md5 {
                UploadTerms::with_md5(&data)
            } else {
                UploadTerms::of(&data)
            };
            let (stored, _) = StoredChunk::verify_digest(data, digest)?;
            Ok::<_, tombolo_artifact::chunk::Error>((stored, terms))
        };
        let verified = spawn_blocking(verify).await;
        let (stored, terms) = verified
            .map_err(|error| Status::internal(error.to_string()))?
            .map_err(|error| Status::data_loss(format!("chunk {digest} arrived damaged: {error}")))?;
        if !self.put_directly(digest, &object, &terms).await? {
            let length = stored.stored_length();
            let request = self.request(stream::iter(uploads(stored)));
            within(async { self.client().put_chunks(request).await }).await?;
            self.figures.through_agent.add(length);
        }
        drop(share);
        Ok(())
    }

    /// Whether the chunk is in the store now. If not, it is for the agent to write.
    async fn put_directly(&self, digest: Digest, object: &Bytes, terms: &UploadTerms) -> Result<bool, Status> {
        let Some(store) = self.store() else {
            return Ok(false);
        };
        let digest = digest.as_bytes().to_vec();
        let request = self.request(wire::PrepareUploadRequest {
            digest: digest.clone(),
            bytes: terms.bytes,
            sha256: terms.sha256.to_vec(),
            md5: terms.md5.map_or_else(Vec::new, Vec::from),
        });
        let prepared = within(async { self.client().prepare_upload(request).await }).await?;
        let signed = match prepared.into_inner().way {
            Some(Way::Present(wire::Present {})) => return Ok(true),
            Some(Way::Signed(signed)) => self.parse(&signed).await,
            Some(Way::ThroughAgent(wire::ThroughAgent {})) | None => None,
        };
        let Some(signed) = signed else {
            return Ok(false);
        };
        if let Err(failure) = store.put(&signed, object).await {
            self.failed(&signed, &failure).await;
            return Ok(false);
        }
        let request = self.request(wire::ConfirmUploadRequest { digest });
        let confirmed = within(async { self.client().confirm_upload(request).await }).await?;
        let is_there = confirmed.into_inner().stored;
        if is_there {
            self.succeeded(object.len());
        }
        Ok(is_there)
    }
}
