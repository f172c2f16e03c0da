//! Artifacts straight from another cluster's bucket: its agent signs the requests, the bucket gives the bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_proto::transfer::v1::SignChunksResponse;

use super::link::RemoteArtifact;
use super::reading;
use crate::direct::{Client, Deadlines, Failure, SignedRequest};
use crate::pull::{ChunkSource, ListedChunk, SourceError};

/// How many chunks one call has signed: the next of a list are wanted soon.
const SIGNED_AT_ONCE: u64 = 32;
/// How much of a signature's life must be left for a request to begin.
const SPARE: Duration = Duration::from_secs(60);

/// The longest life of a signature that is believed: what another member says is no reason to count beyond the end of time.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// One artifact in another cluster's bucket.
pub(super) struct SignedArtifact {
    /// The ways to the agent that signs, best first.
    agent: Vec<RemoteArtifact>,
    /// The one of them that was the last to lead there: the others would cost a deadline each time.
    answering: AtomicUsize,
    signed: tokio::sync::Mutex<Signed>,
    clients: Clients,
}

#[derive(Default)]
struct Signed {
    requests: HashMap<u64, SignedRequest>,
    client: Option<Client>,
    good_until: Option<Instant>,
}

impl SignedArtifact {
    pub(super) fn new(agent: Vec<RemoteArtifact>, clients: Clients) -> Self {
        Self {
            agent,
            answering: AtomicUsize::new(0),
            signed: tokio::sync::Mutex::default(),
            clients,
        }
    }

    /// Asks the agent, by the way that led to it last, or the next one that does.
    async fn ask<'a, T>(
        &'a self,
        question: impl Fn(&'a RemoteArtifact) -> BoxFuture<'a, Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let mut last = SourceError::Unreachable("there is no way to the agent".to_owned());
        let first = self.answering.load(Ordering::Relaxed);
        for index in (first..self.agent.len()).chain(0..first) {
            match question(&self.agent[index]).await {
                Err(error @ SourceError::Unreachable(_)) => last = error,
                answer => {
                    self.answering.store(index, Ordering::Relaxed);
                    return answer;
                }
            }
        }
        Err(last)
    }

    /// The signed request for a chunk. Whoever comes first has the next ones signed too.
    async fn request(&self, chunk: ListedChunk) -> Result<(Client, SignedRequest), SourceError> {
        let mut signed = self.signed.lock().await;
        if signed.good_until.is_none_or(|until| Instant::now() + SPARE >= until) {
            signed.requests.clear();
        }
        if let (Some(client), Some(request)) = (&signed.client, signed.requests.get(&chunk.index)) {
            return Ok((client.clone(), request.clone()));
        }
        let asked_at = Instant::now();
        let answer = self.ask(|agent| agent.sign(chunk.index).boxed()).await?;
        let life = Duration::from_millis(answer.life).min(LONGEST_LIFE);
        signed.client = Some(self.clients.get(&answer.certificates)?);
        signed.good_until = Some(asked_at + life);
        signed.requests = requests(answer)?;
        match (&signed.client, signed.requests.get(&chunk.index)) {
            (Some(client), Some(request)) => Ok((client.clone(), request.clone())),
            _ => Err(SourceError::Missing("its bucket does not have the chunk".to_owned())),
        }
    }

    /// The next request for this chunk is signed anew.
    async fn forget(&self, chunk: ListedChunk) {
        self.signed.lock().await.requests.remove(&chunk.index);
    }
}

fn requests(answer: SignChunksResponse) -> Result<HashMap<u64, SignedRequest>, SourceError> {
    let request = |signed: tombolo_proto::transfer::v1::SignedChunk| {
        let request = SignedRequest::parse(&signed.url, [] as [(&str, &str); 0]);
        let refused = |error| SourceError::Refused(format!("what it has signed is of no use: {error}"));
        Ok((signed.chunk, request.map_err(refused)?))
    };
    answer.chunks.into_iter().map(request).collect()
}

impl ChunkSource for SignedArtifact {
    fn manifest(&self) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        self.ask(|agent| agent.manifest()).boxed()
    }

    fn chunk(&self, chunk: ListedChunk) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        async move {
            let (client, request) = self.request(chunk).await?;
            let longest = (chunk.reference.length + 1).min(MAXIMUM_STORED_CHUNK_BYTES);
            let answer = client.get(&request, longest).await;
            if answer.is_err() {
                self.forget(chunk).await;
            }
            answer.map_err(failure)
        }
        .boxed()
    }
}

fn failure(failure: Failure) -> SourceError {
    match failure {
        Failure::Missing => SourceError::Missing("its bucket does not have the chunk".to_owned()),
        Failure::TooLong(_) => SourceError::Damaged("its bucket has another chunk there".to_owned()),
        Failure::Refused(reason) => SourceError::Refused(format!("its bucket: {reason}")),
        Failure::Unreachable(reason) => SourceError::Refused(format!("its bucket cannot be reached: {reason}")),
        Failure::Busy(reason) => SourceError::Unreachable(format!("its bucket: {reason}")),
    }
}

/// The most kinds of certificates that buckets are known with.
const CLIENTS: usize = 32;

/// One client for all buckets with the same authorities. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Clients(Arc<Mutex<HashMap<String, Client>>>);

impl Clients {
    fn get(&self, certificates: &str) -> Result<Client, SourceError> {
        let mut known = self.lock();
        if let Some(client) = known.get(certificates) {
            return Ok(client.clone());
        }
        let pem = (!certificates.is_empty()).then_some(certificates);
        let client = Client::elsewhere(pem, Deadlines::default());
        let client = client.map_err(|error| SourceError::Refused(format!("its bucket's authorities: {error}")))?;
        if known.len() >= CLIENTS {
            known.clear();
        }
        known.insert(certificates.to_owned(), client.clone());
        Ok(client)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RemoteArtifact {
    async fn sign(&self, index: u64) -> Result<SignChunksResponse, SourceError> {
        self.call(|channel, grant| reading::sign(channel, grant, index..index.saturating_add(SIGNED_AT_ONCE)))
            .await
    }
}
