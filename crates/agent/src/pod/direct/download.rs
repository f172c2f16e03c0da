//! From the store to the pod.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{Stream, StreamExt, stream};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;
use tombolo_artifact::chunk::MAXIMUM_CHUNK_BYTES;
use tombolo_artifact::{ChunkReference, StoredChunk};
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::prepare_download_response::Way;
use tombolo_proto::transfer::v1::chunks_client::ChunksClient;
use tombolo_proto::transfer::v1::{ChunkPiece, GetChunksRequest};
use tombolo_transfer::peer::chunk_pieces;
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{Direct, MESSAGE_BYTES, Shared, within};
use crate::incoming::digest;

type Codec = ProstCodec<ChunkPiece, GetChunksRequest>;
type Pieces = Pin<Box<dyn Stream<Item = Result<ChunkPiece, Status>> + Send>>;

impl Direct {
    /// Answers the pod's `GetChunks`.
    pub(in super::super) async fn get_chunks(&self, request: Request<Incoming>) -> Response<Body> {
        let answer = service_fn(|request: tonic::Request<GetChunksRequest>| {
            let shared = Arc::clone(&self.shared);
            async move {
                let pieces = shared.get(request.into_inner()).await?;
                Ok::<_, Status>(tonic::Response::new(pieces))
            }
        });
        let mut server = Grpc::new(Codec::default()).apply_max_message_size_config(Some(MESSAGE_BYTES), None);
        server.server_streaming(answer, request).await
    }
}

impl Shared {
    /// The chunks that are asked for, by whichever way.
    async fn get(self: &Arc<Self>, request: GetChunksRequest) -> Result<Pieces, Status> {
        // The supervisor asks for one at a time.
        if let [chunk] = request.chunks[..]
            && let Some((stored, share)) = self.get_directly(&request.grant, chunk).await?
        {
            let pieces = stream::iter(chunk_pieces(chunk, &stored));
            return Ok(Box::pin(pieces.map(move |piece| {
                let _held = &share;
                Ok(piece)
            })));
        }
        let request = self.request(request);
        let mut client = ChunksClient::new(self.agent.clone());
        let answer = within(async { client.get_chunks(request).await }).await?;
        let shared = Arc::clone(self);
        Ok(Box::pin(answer.into_inner().inspect(move |piece| {
            if let Ok(piece) = piece {
                shared
                    .figures
                    .through_agent
                    .bytes
                    .fetch_add(piece.data.len() as u64, Ordering::Relaxed);
                shared
                    .figures
                    .through_agent
                    .chunks
                    .fetch_add(piece.last.into(), Ordering::Relaxed);
            }
        })))
    }

    /// A chunk that was checked, with the memory that it takes. None if it is for the agent to give: who also marks what is
    /// damaged, and finds what lies elsewhere.
    async fn get_directly(
        &self,
        manifest: &[u8],
        chunk: u64,
    ) -> Result<Option<(StoredChunk, OwnedSemaphorePermit)>, Status> {
        let Some(store) = self.store() else {
            return Ok(None);
        };
        let manifest = manifest.to_vec();
        let request = self.request(wire::PrepareDownloadRequest { manifest, chunk });
        let prepared = within(async { self.client().prepare_download(request).await }).await?;
        let Some(Way::Signed(signed)) = prepared.into_inner().way else {
            return Ok(None);
        };
        let expected = ChunkReference {
            digest: digest(&signed.digest)?,
            length: signed.length.min(MAXIMUM_CHUNK_BYTES),
        };
        let Some(request) = self.parse(&signed.request.unwrap_or_default()).await else {
            return Ok(None);
        };
        // One byte more: how it is coded.
        let longest = expected.length + 1;
        let share = self.incoming.share(longest).await?;
        let object = match store.get(&request, longest).await {
            Ok(object) => object,
            Err(failure) => {
                self.failed(&request, &failure).await;
                return Ok(None);
            }
        };
        let length = object.len();
        let verified = spawn_blocking(move || StoredChunk::verify(object, expected)).await;
        match verified.map_err(|error| Status::internal(error.to_string()))? {
            Ok((stored, _)) => {
                self.succeeded(length);
                Ok(Some((stored, share)))
            }
            Err(error) => {
                tracing::warn!(%error, "a chunk came damaged from the store: the agent is asked for it");
                Ok(None)
            }
        }
    }
}
