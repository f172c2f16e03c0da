//! The chunks that the agent has, in memory.

use std::collections::HashMap;
use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, stream};
use tombolo_artifact::{BorrowedChunk, ChunkSink, StoredChunk};
use tombolo_core::digest::Digest;
use tombolo_proto::transfer::v1::chunks_server::Chunks;
use tombolo_proto::transfer::v1::{
    ChunkPiece, DialBackRequest, DialBackResponse, GetChunksRequest, GetManifestRequest, Piece, SignChunksRequest,
    SignChunksResponse,
};
use tonic::{Request, Response, Status};

use super::Service;

pub(super) struct Sink<'known>(pub(super) &'known mut HashMap<Digest, Bytes>);

impl ChunkSink for Sink<'_> {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> std::io::Result<()> {
        let stored = StoredChunk::encode(&chunk.to_chunk()).to_bytes();
        self.0.insert(chunk.reference().digest, stored);
        Ok(())
    }
}

type Answer<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Chunks for Service {
    type GetManifestStream = Answer<Piece>;
    type GetChunksStream = Answer<ChunkPiece>;

    async fn get_manifest(&self, request: Request<GetManifestRequest>) -> Result<Response<Answer<Piece>>, Status> {
        self.admit("get_manifest", &request)?;
        let data = self.manifest_of(&request.get_ref().grant)?.encoded().clone();
        Ok(Response::new(Box::pin(stream::iter([Ok(Piece { data })]))))
    }

    async fn get_chunks(&self, request: Request<GetChunksRequest>) -> Result<Response<Answer<ChunkPiece>>, Status> {
        self.admit("get_chunks", &request)?;
        let manifest = self.manifest_of(&request.get_ref().grant)?;
        let mut pieces = Vec::new();
        for chunk in request.get_ref().chunks.clone() {
            let reference = manifest.chunks().nth(chunk as usize).unwrap();
            let mut stored = self.known().chunks[&reference.digest].clone();
            while !stored.is_empty() {
                let data = stored.split_to(stored.len().min(256 * 1024));
                let last = stored.is_empty();
                pieces.push(Ok(ChunkPiece { chunk, data, last }));
            }
        }
        Ok(Response::new(Box::pin(stream::iter(pieces))))
    }

    async fn sign_chunks(&self, _: Request<SignChunksRequest>) -> Result<Response<SignChunksResponse>, Status> {
        Err(Status::failed_precondition("this is for agents"))
    }

    async fn dial_back(&self, _: Request<DialBackRequest>) -> Result<Response<DialBackResponse>, Status> {
        Err(Status::failed_precondition("this is for agents"))
    }
}
