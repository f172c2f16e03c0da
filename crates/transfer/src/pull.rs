//! Pulling: an artifact comes into the local store from wherever it is. The destination pulls, so that it can resume, check
//! and choose: what arrived stays, whatever happens to its source.

mod arrive;
mod record;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use tombolo_artifact::{ChunkReference, Manifest};
use tombolo_core::attempt::{RouteKind, RouteReport, TransferReceipt};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::planted::{Bug, planted};

use crate::bandwidth::Bandwidth;
use crate::store::{self, ChunkStore};
use arrive::Arrival;
pub use record::Behaviour;
use sources::Sources;

/// How many chunks are asked about in the local store at once.
const LOOKED_UP_AT_ONCE: usize = 16;

/// A place that has one artifact and lets us read it. It connects when it is first asked, and again when it has to.
pub trait ChunkSource: Send + Sync {
    /// The manifest as it is encoded, not compressed. Nothing of it needs to be checked; no more than
    /// [`MAXIMUM_MANIFEST_BYTES`](tombolo_artifact::manifest::MAXIMUM_MANIFEST_BYTES) may be collected.
    fn manifest(&self) -> BoxFuture<'_, Result<Bytes, SourceError>>;

    /// A chunk as it is stored. Nothing of it needs to be checked; no more than
    /// [`MAXIMUM_STORED_CHUNK_BYTES`](tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES) may be collected.
    fn chunk(&self, chunk: ListedChunk) -> BoxFuture<'_, Result<Bytes, SourceError>>;
}

/// A chunk and its (first) place in the manifest's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedChunk {
    /// Its place, from 0.
    pub index: u64,
    /// Its name and length.
    pub reference: ChunkReference,
}

/// Why a source did not give what it was asked for. The texts are for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached, or broke off; worth another attempt a little later.
    #[error("{0}")]
    Unreachable(String),
    /// It will not give us anything (we may not read this artifact, say): it is not asked again.
    #[error("{0}")]
    Refused(String),
    /// There is no such way, as the one at its other end says: it is not asked again.
    #[error("{0}")]
    NotOffered(String),
    /// It does not have this one thing, or only a damaged one: it is not asked for it again.
    #[error("{0}")]
    Missing(String),
    /// What came is not what was asked for.
    #[error("{0}")]
    Damaged(String),
}

/// Hears how a source has behaved in a pull.
pub trait Observe: Send + Sync {
    /// Called once, at the end of the pull.
    fn observe(&self, behaviour: Behaviour);
}

/// A source, and how it is shown.
#[derive(Clone)]
pub struct Source {
    /// The cluster that has the artifact; none for the master.
    pub cluster: Option<ClusterName>,
    /// The way to it.
    pub route: RouteKind,
    /// The way itself.
    pub chunks: Arc<dyn ChunkSource>,
    /// Who hears how it behaves.
    pub observer: Option<Arc<dyn Observe>>,
}

/// How long a pull waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For one chunk: one of the longest kind at 140 KiB/s, by default.
    pub request: Duration,
    /// While nothing arrives from any source.
    pub stalled: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(120),
            stalled: Duration::from_secs(180),
        }
    }
}

/// What is to be pulled, and from where.
pub struct Request {
    /// The project that the artifact belongs to.
    pub project: ProjectId,
    /// The artifact.
    pub manifest: Digest,
    /// Where it is, best first.
    pub sources: Vec<Source>,
}

/// How far a pull is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The content's size, in bytes.
    pub bytes: u64,
    /// How much of it is in the local store, in bytes.
    pub done_bytes: u64,
    /// What crossed the link so far, in bytes.
    pub moved_bytes: u64,
    /// The way that brought most so far.
    pub route: RouteKind,
    /// The cluster at its other end.
    pub from: Option<ClusterName>,
    /// Since the beginning.
    pub elapsed: Duration,
}

/// How an artifact came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What came; its digest was checked.
    pub manifest: Manifest,
    /// The end of it.
    pub progress: Progress,
    /// What became of the ways, in the order in which they were to be asked; none if everything was there.
    pub routes: Vec<RouteReport>,
}

impl Receipt {
    /// The receipt as the rest of the program keeps it; `parent` is none for the source of a build.
    pub fn for_parent(&self, parent: Option<JobName>) -> TransferReceipt {
        TransferReceipt {
            parent,
            cache: false,
            from: self.progress.from.clone(),
            route: self.progress.route,
            manifest: self.manifest.digest(),
            bytes: self.manifest.bytes(),
            moved_bytes: self.progress.moved_bytes,
            milliseconds: u64::try_from(self.progress.elapsed.as_millis()).unwrap_or(u64::MAX),
            routes: self.routes.clone(),
            prefetched: false,
            failure: None,
        }
    }
}

/// Why an artifact did not come. What arrived stays: the next pull goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The local store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// No source could give it in time.
    #[error("cannot get {what} of artifact {}: {}", .manifest.short(), list(.reasons))]
    Unobtainable {
        /// The artifact.
        manifest: Digest,
        /// The part that is lacking.
        what: String,
        /// What each source said last.
        reasons: Vec<String>,
        /// What came all the same, and what became of the ways.
        so_far: Box<SoFar>,
        /// The same for programs.
        answers: Box<Answers>,
    },
}

/// What the clusters that were asked have answered in the end, each in one of the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// They do not have something of the artifact, or have it damaged only.
    pub missing: Vec<ClusterName>,
    /// They did not answer.
    pub unreachable: Vec<ClusterName>,
    /// They will not give it.
    pub refused: Vec<ClusterName>,
}

fn list(reasons: &[String]) -> String {
    if reasons.is_empty() {
        "no cluster is known to have it".to_owned()
    } else {
        reasons.join("; ")
    }
}

/// What there is to be known of a pull that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoFar {
    /// The end of it; its size is 0 if not even the manifest came.
    pub progress: Progress,
    /// What became of the ways, in the order in which they were to be asked.
    pub routes: Vec<RouteReport>,
}

impl SoFar {
    /// The receipt of an artifact that did not come for `reason`; `parent` is none for the source of a build.
    pub fn for_parent(&self, parent: Option<JobName>, manifest: Digest, reason: String) -> TransferReceipt {
        TransferReceipt {
            parent,
            cache: false,
            from: self.progress.from.clone(),
            route: self.progress.route,
            manifest,
            bytes: self.progress.bytes,
            moved_bytes: self.progress.moved_bytes,
            milliseconds: u64::try_from(self.progress.elapsed.as_millis()).unwrap_or(u64::MAX),
            routes: self.routes.clone(),
            prefetched: false,
            failure: Some(reason),
        }
    }
}

/// Pulls artifacts into one store. Cheap to clone; pulls of the same artifact wait for each other, so that nothing comes twice.
#[derive(Clone)]
pub struct Puller {
    store: ChunkStore,
    patience: Patience,
    bandwidth: Bandwidth,
    under_way: Arc<Mutex<UnderWay>>,
}

type UnderWay = HashMap<(ProjectId, Digest), Weak<tokio::sync::Mutex<()>>>;

impl Puller {
    /// Pulls into `store`.
    pub fn new(store: ChunkStore, patience: Patience) -> Self {
        Self {
            store,
            patience,
            bandwidth: Bandwidth::default(),
            under_way: Arc::default(),
        }
    }

    /// The same, but all that its pulls bring keeps to this limit.
    #[must_use]
    pub fn with_bandwidth(self, bandwidth: Bandwidth) -> Self {
        Self { bandwidth, ..self }
    }

    /// The local store.
    pub const fn store(&self) -> &ChunkStore {
        &self.store
    }

    /// Brings the artifact into the local store and returns when all of it is there, its manifest last. `progress` is called
    /// at the beginning and after each chunk; it must not block.
    pub async fn pull(&self, request: Request, progress: impl Fn(Progress) + Send + Sync) -> Result<Receipt, Error> {
        let began = Instant::now();
        let turn = self.turn(request.project, request.manifest);
        let _turn = turn.lock().await;
        let sources = Sources::new(request.manifest, request.sources, self.patience);
        let (manifest, known) = self.manifest(request.project, request.manifest, &sources).await?;
        let arrival = Arrival {
            store: &self.store,
            bandwidth: &self.bandwidth,
            project: request.project,
            sources: &sources,
        };
        let missing = self.missing(request.project, &manifest).await?;
        if planted(Bug::ManifestPublishedEarly) {
            self.store.put_manifest(request.project, &manifest).await?;
        }
        let lacking: u64 = missing
            .iter()
            .map(|(chunk, occurrences)| chunk.content(*occurrences))
            .sum();
        let mut done = manifest.bytes() - lacking;
        let tell = |done_bytes| sources.progress(manifest.bytes(), done_bytes, began.elapsed());
        progress(tell(done));
        let mut failure = None;
        let mut arrivals = std::pin::pin!(arrival.all(missing));
        // After a failure nothing new is asked for, but what is on its way may still arrive, and stays.
        while let Some(arrived) = arrivals.next().await {
            match arrived {
                Ok(content) => {
                    done += content;
                    progress(tell(done));
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(mut error) = failure {
            if let Error::Unobtainable { so_far, .. } = &mut error {
                **so_far = sources.so_far(tell(done));
            }
            return Err(error);
        }
        if !known {
            self.store.put_manifest(request.project, &manifest).await?;
        }
        let progress = tell(done);
        let routes = if progress.moved_bytes > 0 {
            sources.reports()
        } else {
            Vec::new()
        };
        Ok(Receipt {
            manifest,
            progress,
            routes,
        })
    }

    /// The lock of one artifact.
    fn turn(&self, project: ProjectId, manifest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, turn| turn.strong_count() > 0);
        let entry = under_way.entry((project, manifest)).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let turn = Arc::default();
            *entry = Arc::downgrade(&turn);
            turn
        })
    }

    /// The manifest, and whether the local store has it already.
    async fn manifest(&self, project: ProjectId, digest: Digest, sources: &Sources) -> Result<(Manifest, bool), Error> {
        match self.store.get_manifest(project, digest).await {
            // One that is condemned is written again at the end: then it stays.
            Ok(manifest) => Ok((manifest, !self.store.is_manifest_condemned(project, digest).await?)),
            Err(store::Error::Missing { .. } | store::Error::Damaged { .. }) => Ok((sources.manifest().await?, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// The chunks that are not in the local store, each once, with how often it occurs.
    async fn missing(&self, project: ProjectId, manifest: &Manifest) -> Result<Vec<(ListedChunk, u64)>, Error> {
        let mut occurrences = HashMap::new();
        for chunk in manifest.chunks() {
            *occurrences.entry(chunk).or_insert(0_u64) += 1;
        }
        let mut seen = HashSet::new();
        let listed = (0_u64..)
            .zip(manifest.chunks())
            .filter(|(_, chunk)| seen.insert(*chunk));
        let missing = stream::iter(listed.map(|(index, reference)| ListedChunk { index, reference }))
            .map(|chunk| async move {
                let present = self.store.has_or_salvages(project, chunk.reference).await?;
                Ok::<_, store::Error>((!present).then_some(chunk))
            })
            .buffered(LOOKED_UP_AT_ONCE)
            .try_filter_map(|missing| std::future::ready(Ok(missing)));
        let missing: Vec<ListedChunk> = missing.try_collect().await?;
        Ok(missing
            .into_iter()
            .map(|chunk| (chunk, occurrences[&chunk.reference]))
            .collect())
    }
}

impl ListedChunk {
    /// How many bytes of content so many of it are.
    fn content(&self, occurrences: u64) -> u64 {
        u64::from(self.reference.length) * occurrences
    }
}
