use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret;
use tombolo_artifact::{ChunkReference, Manifest};
use tombolo_identity::tls::Identity;
use tombolo_identity::transport::{self, Address};
use tombolo_proto::transfer::v1::chunks_server::{Chunks, ChunksServer};
use tombolo_proto::transfer::v1::{
    ChunkPiece, DialBackRequest, DialBackResponse, GetChunksRequest, GetManifestRequest, Piece, SignChunksRequest,
    SignChunksResponse, SignedChunk,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::authorize::{Authorize, Caller, Grants, Readable, Remedy, remedied};
use super::manifests::Manifests;
use super::outgoing::{Outgoing, Sender};
use super::recent::Recent;
use super::reverse::Dialler;
use super::{MAX_MESSAGE_BYTES, chunk_pieces, pieces};
use crate::bandwidth::Bandwidth;
use crate::store::budget::Budget;
use crate::store::{Audience, ChunkStore, Error};

/// How many chunks one call has signed at the most.
const MAX_SIGNED_PER_CALL: usize = 256;
/// How long others may read by what was signed for them.
const SIGNATURE_LIFE: Duration = Duration::from_secs(5 * 60);
/// How many chunks one call may name; a reader of more makes more calls.
const MAX_CHUNKS_PER_CALL: usize = 4096;

/// Gives the chunks of one store to those who may read them. Cheap to clone; clones share memory and counters.
#[derive(Clone)]
pub struct ChunkService {
    shared: Arc<Shared>,
}

struct Shared {
    store: ChunkStore,
    authorization: Box<dyn Authorize>,
    manifests: Manifests,
    /// The memory of all chunks that are on their way out.
    budget: Budget,
    served: AtomicU64,
    recent: Recent,
    /// For those who cannot dial this member; none if that is not offered.
    dialler: Option<Dialler>,
    bandwidth: Bandwidth,
}

impl ChunkService {
    /// Serves `store` to members that show a grant; grants are checked against the keys that `identity` trusts at that time.
    pub fn new(store: ChunkStore, identity: Identity) -> Self {
        Self::with_authorization(store, Grants(identity))
    }

    /// Serves `store` to those whom `authorization` lets.
    pub fn with_authorization(store: ChunkStore, authorization: impl Authorize) -> Self {
        Self::with(store, Box::new(authorization), None, Bandwidth::default())
    }

    /// As [`Self::new`], for an agent: it also dials those who ask for it, and signs what they read straight from its bucket. What it
    /// sends itself keeps to `bandwidth`.
    pub fn with_dialler(store: ChunkStore, identity: Identity, dialler: Dialler, bandwidth: Bandwidth) -> Self {
        Self::with(store, Box::new(Grants(identity)), Some(dialler), bandwidth)
    }

    fn with(
        store: ChunkStore,
        authorization: Box<dyn Authorize>,
        dialler: Option<Dialler>,
        bandwidth: Bandwidth,
    ) -> Self {
        let (manifests, served, recent) = Default::default();
        Self {
            shared: Arc::new(Shared {
                store,
                authorization,
                manifests,
                budget: Budget::new(),
                served,
                recent,
                dialler,
                bandwidth,
            }),
        }
    }

    /// The gRPC service. The server's connections are those of [`tombolo_identity::transport`].
    pub fn server(&self) -> ChunksServer<Self> {
        ChunksServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The chunk at a place of an artifact's list, from 0.
    ///
    /// # Errors
    /// What a reader may be told: there is no such place, or the manifest cannot be read.
    pub async fn reference(&self, readable: Readable, index: u64) -> Result<ChunkReference, Status> {
        at(&self.manifest(readable).await?, index)
    }

    /// How many bytes of manifests and chunks (as stored) were given since the start.
    pub fn served_bytes(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    /// Whether somebody has read an artifact `within` this time, a day at the most.
    pub fn is_read(&self, readable: Readable, within: Duration) -> bool {
        self.shared.recent.has(readable, within)
    }

    fn authorize<T>(&self, request: &Request<T>, right: &[u8]) -> Result<Readable, Status> {
        self.shared.authorization.authorize(&Caller::of(request), right)
    }

    /// As [`Self::manifest`], for a caller that may have somebody who brings again what is not whole.
    async fn manifest_for<T>(
        &self,
        readable: Readable,
        request: &Request<T>,
    ) -> Result<(Manifest, Option<Arc<dyn Remedy>>), Status> {
        let remedy = self.shared.authorization.remedy(&Caller::of(request));
        let manifest = self.manifest(readable).await;
        let manifest = manifest.map_err(|status| remedied(status, readable, remedy.as_deref()))?;
        Ok((manifest, remedy))
    }

    async fn manifest(&self, readable: Readable) -> Result<Manifest, Status> {
        let shared = &self.shared;
        shared.recent.note(readable);
        shared
            .manifests
            .get(&shared.store, readable.project, readable.manifest)
            .await
            .map_err(|error| {
                // The master said that it is here: somebody took it away, and may have taken more.
                if matches!(error, Error::Missing { .. }) {
                    shared.store.distrust(readable.project);
                }
                status(&error)
            })
    }
}

#[tonic::async_trait]
impl Chunks for ChunkService {
    type GetManifestStream = Outgoing<Piece>;
    type GetChunksStream = Outgoing<ChunkPiece>;

    async fn get_manifest(
        &self,
        request: Request<GetManifestRequest>,
    ) -> Result<Response<Self::GetManifestStream>, Status> {
        let readable = self.authorize(&request, &request.get_ref().grant)?;
        let (manifest, _) = self.manifest_for(readable, &request).await?;
        let shared = self.shared.clone();
        Ok(Response::new(Outgoing::produce(async move |sender: Sender<Piece>| {
            for data in pieces(manifest.encoded().clone()) {
                shared.served.fetch_add(data.len() as u64, Ordering::Relaxed);
                sender.send(Piece { data }).await?;
            }
            Ok(())
        })))
    }

    async fn get_chunks(&self, request: Request<GetChunksRequest>) -> Result<Response<Self::GetChunksStream>, Status> {
        let readable = self.authorize(&request, &request.get_ref().grant)?;
        if request.get_ref().chunks.len() > MAX_CHUNKS_PER_CALL {
            return Err(Status::invalid_argument(format!(
                "a call names at most {MAX_CHUNKS_PER_CALL} chunks"
            )));
        }
        let (manifest, remedy) = self.manifest_for(readable, &request).await?;
        let listed: Vec<_> = request
            .into_inner()
            .chunks
            .into_iter()
            .map(|index| Ok((index, at(&manifest, index)?)))
            .collect::<Result<_, Status>>()?;
        let shared = self.shared.clone();
        Ok(Response::new(Outgoing::produce(
            async move |sender: Sender<ChunkPiece>| {
                for (chunk, reference) in listed {
                    shared.recent.note(readable);
                    let sent = shared.send_chunk(readable, chunk, reference, &sender).await;
                    sent.map_err(|status| remedied(status, readable, remedy.as_deref()))?;
                }
                Ok(())
            },
        )))
    }

    async fn sign_chunks(&self, request: Request<SignChunksRequest>) -> Result<Response<SignChunksResponse>, Status> {
        let readable = self.authorize(&request, &request.get_ref().grant)?;
        if self.shared.dialler.is_none() {
            return Err(Status::failed_precondition("this member signs nothing"));
        }
        let chunks = request.into_inner().chunks;
        if chunks.len() > MAX_SIGNED_PER_CALL {
            return Err(Status::invalid_argument(format!(
                "a call has at most {MAX_SIGNED_PER_CALL} chunks signed"
            )));
        }
        let manifest = self.manifest(readable).await?;
        // A reader asks for more than there are near the end of the list.
        let listed = chunks
            .into_iter()
            .map_while(|index| Some((index, at(&manifest, index).ok()?)));
        let signed = self.shared.sign(readable, listed.collect()).await?;
        Ok(Response::new(signed))
    }

    async fn dial_back(&self, request: Request<DialBackRequest>) -> Result<Response<DialBackResponse>, Status> {
        self.authorize(&request, &request.get_ref().grant)?;
        let reader = transport::peer(request.extensions()).map(|peer| peer.member.clone());
        let (Some(dialler), Some(reader)) = (&self.shared.dialler, reader) else {
            return Err(Status::failed_precondition("this member dials nobody"));
        };
        let DialBackRequest { address, ticket, .. } = request.into_inner();
        let address = Address::parse(&address);
        let address = address.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let ticket = (&ticket[..]).try_into();
        let ticket = ticket.map_err(|_| Status::invalid_argument("a ticket has 16 bytes"))?;
        dialler
            .dial(&reader, &address, &ticket, Routes::new(self.server()))
            .await?;
        Ok(Response::new(DialBackResponse {}))
    }
}

impl Shared {
    async fn sign(&self, readable: Readable, chunks: Vec<(u64, ChunkReference)>) -> Result<SignChunksResponse, Status> {
        let none = || Status::failed_precondition("the store of this cluster is read through its agent only");
        let reachable = self.store.readable_elsewhere().await.map_err(|error| status(&error))?;
        if !reachable.downloads {
            return Err(none());
        }
        let mut signed = Vec::with_capacity(chunks.len());
        for (chunk, reference) in chunks {
            let request = self
                .store
                .sign_download(readable.project, reference.digest, SIGNATURE_LIFE, Audience::Member)
                .await;
            if let Some(request) = request.map_err(|error| status(&error))? {
                let url = request.url().expose_secret().to_owned();
                signed.push(SignedChunk { chunk, url });
            }
        }
        Ok(SignChunksResponse {
            chunks: signed,
            certificates: reachable.certificates.unwrap_or_default(),
            life: u64::try_from(SIGNATURE_LIFE.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn send_chunk(
        &self,
        readable: Readable,
        chunk: u64,
        reference: ChunkReference,
        sender: &Sender<ChunkPiece>,
    ) -> Result<(), Status> {
        let shutting_down = |_| Status::unavailable("this member is shutting down");
        let _share = self.budget.take(reference.length).await.map_err(shutting_down)?;
        let stored = self
            .store
            .get_stored_chunk(readable.project, reference)
            .await
            .map_err(|error| status(&error))?;
        for piece in chunk_pieces(chunk, &stored) {
            let bytes = piece.data.len() as u64;
            self.bandwidth.reserve(bytes).await.used(bytes);
            sender.send(piece).await?;
        }
        self.served.fetch_add(stored.stored_length() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn at(manifest: &Manifest, index: u64) -> Result<ChunkReference, Status> {
    let found = usize::try_from(index)
        .ok()
        .and_then(|index| manifest.chunks().nth(index));
    found.ok_or_else(|| {
        Status::out_of_range(format!(
            "the artifact has {} chunks, no chunk {index}",
            manifest.chunk_count()
        ))
    })
}

/// What a reader is told. Where our store is, and what it said, is none of its business.
fn status(error: &Error) -> Status {
    match error {
        Error::Missing { what, digest, .. } => Status::not_found(format!("{what} {digest} is not there")),
        Error::Damaged { what, digest, .. } => {
            tracing::error!(%error, "a reader asked for what is damaged");
            Status::data_loss(format!("{what} {digest} is damaged at its source"))
        }
        _ => {
            tracing::warn!(%error, "cannot read for a peer");
            Status::unavailable("the source's store cannot be read at present")
        }
    }
}
