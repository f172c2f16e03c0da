//! Outputs of jobs, as the master reads them for users: as a member like any other, from the cluster that has them, through a
//! tunnel that it dials itself, with a grant of its own. Nothing is kept here.

pub(crate) mod archive;
pub mod loopback;
pub(crate) mod sums;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tombolo_artifact::{Chunk, ChunkReference, Manifest, StoredChunk};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_transfer::ChunkSource;
use tombolo_transfer::pull::{ListedChunk, SourceError};

/// How long the cluster may take to give the manifest, with the tunnel that is opened for it.
const MANIFEST_DEADLINE: Duration = Duration::from_secs(60);

/// How long the cluster may take to give one chunk: 16 MiB at 1.2 Mbit/s.
const CHUNK_DEADLINE: Duration = Duration::from_secs(120);

/// How many chunks of one download are fetched ahead: one on its way while one is read.
const CHUNKS_AHEAD: usize = 2;

/// The memory that chunks of all downloads may take at once, as they come and decompressed: two of the largest, or some eight
/// of common size.
const CHUNK_BYTES: usize = 64 << 20;

/// How many downloads and listings go on at once; each holds a manifest of up to 32 MiB, mostly of some KiB.
const OPEN_AT_ONCE: usize = 16;

/// Why an output cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be reached.
    #[error("cluster `{cluster}` cannot be reached: {reason}")]
    Unreachable {
        /// Which.
        cluster: ClusterName,
        /// Why.
        reason: String,
    },
    /// The cluster does not give it.
    #[error("cluster `{cluster}` does not have the output any more: {reason}")]
    Gone {
        /// Which.
        cluster: ClusterName,
        /// What it says.
        reason: String,
    },
    /// What the cluster gave is not what it should be.
    #[error("cluster `{cluster}` gave a damaged output: {reason}")]
    Damaged {
        /// Which.
        cluster: ClusterName,
        /// What is wrong.
        reason: String,
    },
    /// As many outputs are being read as there may be.
    #[error("as many outputs are being read as this master reads at once")]
    Busy,
    /// Something failed here.
    #[error("{0}")]
    Internal(String),
}

/// The way to what clusters have.
pub trait Reach: Send + Sync + 'static {
    /// The artifact at the cluster. Connects when it is first asked.
    fn source(
        &self,
        cluster: &ClusterName,
        project: ProjectId,
        manifest: Digest,
    ) -> Result<Arc<dyn ChunkSource>, Error>;
}

/// Reads outputs. Clones share the limits.
#[derive(Clone)]
pub struct Outputs {
    reach: Arc<dyn Reach>,
    open: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// An output that can be read.
pub struct Output {
    /// What is in it.
    pub manifest: Manifest,
    reader: Reader,
    _open: OwnedSemaphorePermit,
}

/// A chunk that was checked. Its memory is accounted for until this is dropped.
pub struct Fetched {
    /// The chunk.
    pub chunk: Chunk,
    _share: Option<OwnedSemaphorePermit>,
}

#[derive(Clone)]
struct Reader {
    cluster: ClusterName,
    source: Arc<dyn ChunkSource>,
    memory: Arc<Semaphore>,
}

impl Outputs {
    /// Reads by this way.
    pub fn new(reach: Arc<dyn Reach>) -> Self {
        Self {
            reach,
            open: Arc::new(Semaphore::new(OPEN_AT_ONCE)),
            memory: Arc::new(Semaphore::new(CHUNK_BYTES)),
        }
    }

    /// Opens an output: reads its manifest and checks it.
    pub async fn open(&self, cluster: &ClusterName, project: ProjectId, manifest: Digest) -> Result<Output, Error> {
        let permit = self.open.clone().try_acquire_owned().map_err(|_| Error::Busy)?;
        let source = self.reach.source(cluster, project, manifest)?;
        let reader = Reader {
            cluster: cluster.clone(),
            source,
            memory: self.memory.clone(),
        };
        let late = || reader.unreachable(format!("no manifest within {} s", MANIFEST_DEADLINE.as_secs()));
        let encoded = tokio::time::timeout(MANIFEST_DEADLINE, reader.source.manifest())
            .await
            .map_err(|_| late())?;
        let encoded = encoded.map_err(|error| reader.failed(error))?;
        let decoded = tokio::task::spawn_blocking(move || Manifest::decode(encoded)).await;
        let decoded = decoded
            .map_err(|error| Error::Internal(error.to_string()))?
            .map_err(|error| reader.damaged(error.to_string()))?;
        if decoded.digest() != manifest {
            return Err(reader.damaged(format!("its manifest has the digest {}", decoded.digest())));
        }
        Ok(Output {
            manifest: decoded,
            reader,
            _open: permit,
        })
    }
}

impl Output {
    /// The chunks from `first` on, `count` of them, checked, in order.
    pub fn chunks(&self, first: usize, count: usize) -> impl Stream<Item = Result<Fetched, Error>> + Unpin + use<> {
        let listed: Vec<ListedChunk> = (0_u64..)
            .zip(self.manifest.chunks())
            .map(|(index, reference)| ListedChunk { index, reference })
            .skip(first)
            .take(count)
            .collect();
        let reader = self.reader.clone();
        let fetched = futures::stream::iter(listed).map(move |chunk| {
            let reader = reader.clone();
            async move { reader.fetch(chunk).await }
        });
        Box::pin(fetched.buffered(CHUNKS_AHEAD))
    }

    /// All chunks.
    pub fn all_chunks(&self) -> impl Stream<Item = Result<Fetched, Error>> + Unpin + use<> {
        self.chunks(0, usize::MAX)
    }
}

impl Reader {
    async fn fetch(&self, chunk: ListedChunk) -> Result<Fetched, Error> {
        let ChunkReference { length, .. } = chunk.reference;
        let share = self.memory.clone().acquire_many_owned(length.saturating_mul(2)).await;
        let share = share.map_err(|_| Error::Busy)?;
        let fetched = tokio::time::timeout(CHUNK_DEADLINE, self.source.chunk(chunk)).await;
        let late = || self.unreachable(format!("no chunk within {} s", CHUNK_DEADLINE.as_secs()));
        let object = fetched.map_err(|_| late())?.map_err(|error| self.failed(error))?;
        let verified = tokio::task::spawn_blocking(move || StoredChunk::verify(object, chunk.reference)).await;
        let verified = verified.map_err(|error| Error::Internal(error.to_string()))?;
        let (_, content) = verified.map_err(|error| self.damaged(error.to_string()))?;
        Ok(Fetched {
            chunk: content,
            _share: Some(share),
        })
    }

    fn failed(&self, error: SourceError) -> Error {
        let cluster = self.cluster.clone();
        match error {
            SourceError::Unreachable(reason) => Error::Unreachable { cluster, reason },
            SourceError::Refused(reason) | SourceError::NotOffered(reason) | SourceError::Missing(reason) => {
                Error::Gone { cluster, reason }
            }
            SourceError::Damaged(reason) => Error::Damaged { cluster, reason },
        }
    }

    fn unreachable(&self, reason: String) -> Error {
        Error::Unreachable {
            cluster: self.cluster.clone(),
            reason,
        }
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Damaged {
            cluster: self.cluster.clone(),
            reason,
        }
    }
}
