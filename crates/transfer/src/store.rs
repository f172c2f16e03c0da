//! Where a member keeps its chunks and manifests: a local folder or a bucket.
//!
//! ```text
//! <prefix>/owner                                                       who owns all of this, as JSON
//! <prefix>/projects/<project>/chunks/<2 digits>/<digest>.<generation>  a stored chunk
//! <prefix>/projects/<project>/chunks/<2 digits>/<digest>.<generation>.damaged   it does not count: damaged (why), or condemned
//! <prefix>/projects/<project>/manifests/<digest>                       a manifest, compressed as a chunk is
//! <prefix>/trials/<random>/...                                         what signed requests were tried with, for a moment
//! ```
//!
//! Chunks are immutable and named by content, so that writing one twice is harmless. One whose bytes do not match its name is
//! marked as damaged; the next upload of that chunk writes the next generation. So does one that nobody needs any more, before it
//! goes ([`retention`]).

pub(crate) mod budget;
mod census;
mod direct;
mod error;
pub mod examine;
mod known;
mod layout;
mod locate;
pub mod location;
mod object;
mod owner;
mod pace;
mod pack;
mod patience;
mod projects;
pub mod retention;
#[cfg(test)]
pub(crate) mod tests;
mod unpack;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutPayload};
use tokio::sync::Semaphore;
use tombolo_artifact::chunk::{self, MAXIMUM_STORED_CHUNK_BYTES, decode_object, encode_object};
use tombolo_artifact::manifest::MAXIMUM_MANIFEST_BYTES;
use tombolo_artifact::{Chunk, ChunkReference, Manifest, StoredChunk, manifest};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

pub(crate) use direct::Binding;
use direct::Signing;
pub use direct::{Audience, DirectAccess, DirectMode, Reachable, UploadWay};
pub use error::Error;
use known::Known;
use layout::Place;
pub use location::StoreLocation;
use object::Fetched;
pub use owner::Owner;
use pace::Pace;
pub use patience::Patience;
use retention::Retention;

/// How often a chunk can be damaged before its uploads are refused: then the store is beyond healing.
const MAXIMUM_GENERATIONS: u32 = 64;

/// Whether a chunk was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// It was written.
    Stored,
    /// It was there already.
    Present,
}

/// A member's chunks and manifests. Cheap to clone; clones share what they know.
#[derive(Clone)]
pub struct ChunkStore {
    inner: Arc<Inner>,
}

struct Inner {
    objects: Arc<dyn ObjectStore>,
    place: String,
    prefix: Path,
    instance: String,
    /// Whose it is; none before it was claimed.
    owner: Option<Owner>,
    /// The folder that it is in, if it is in one.
    folder: Option<PathBuf>,
    patience: Patience,
    pace: Pace,
    known: Mutex<Known>,
    retention: Retention,
    /// None where nothing is to be signed.
    signing: Option<Signing>,
    /// One chunk at a time is read again for want of the right length.
    rereading: Semaphore,
}

impl ChunkStore {
    /// Opens the store, or makes it the owner's if it is nobody's. It signs nothing.
    pub async fn open(location: &StoreLocation, owner: &Owner, patience: Patience) -> Result<Self, Error> {
        Self::open_direct(location, &DirectAccess::never(), owner, patience).await
    }

    /// As [`Self::open`], for a member that may have others make requests which it signs.
    pub async fn open_direct(
        location: &StoreLocation,
        access: &DirectAccess,
        owner: &Owner,
        patience: Patience,
    ) -> Result<Self, Error> {
        Self::connect(location, access, patience)?.claim(owner).await
    }

    /// A store that nobody has asked anything yet.
    fn connect(location: &StoreLocation, access: &DirectAccess, patience: Patience) -> Result<Inner, Error> {
        let opened = location.connect(access).map_err(Error::Configuration)?;
        let signing = opened.signers.filter(|_| access.is_wanted());
        let signing = signing
            .map(|signers| Signing::new(signers, access))
            .transpose()
            .map_err(Error::Configuration)?;
        let folder = match location {
            StoreLocation::Local(local) => Some(local.path.clone()),
            StoreLocation::S3(_) | StoreLocation::Azure(_) | StoreLocation::Gcs(_) => None,
        };
        Ok(Inner {
            pace: opened.pace,
            signing,
            folder,
            ..Inner::new(opened.objects, opened.place, opened.prefix, patience)
        })
    }

    /// As [`Self::open`], over any object store. `place` is for messages.
    pub async fn over(
        objects: Arc<dyn ObjectStore>,
        place: String,
        prefix: Path,
        owner: &Owner,
        patience: Patience,
    ) -> Result<Self, Error> {
        Inner::new(objects, place, prefix, patience).claim(owner).await
    }

    /// The random name that the store got when it was first opened: another one means that the store was emptied meanwhile.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// Where the store is, for messages.
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// Whether the chunk is there, and is neither known to be damaged nor condemned.
    pub async fn has_chunk(&self, project: ProjectId, digest: Digest) -> Result<bool, Error> {
        Ok(matches!(self.inner.locate(project, digest).await?, Place::Present(_)))
    }

    /// Writes the chunk unless it is there.
    pub async fn put_chunk(&self, project: ProjectId, chunk: &StoredChunk) -> Result<PutOutcome, Error> {
        let digest = chunk.reference().digest;
        let _writing = self.inner.retention.writing(digest).await;
        let epoch = self.inner.retention.epoch();
        let generation = match self.inner.place_for(project, digest).await? {
            Place::Present(_) => return Ok(PutOutcome::Present),
            Place::Absent(generation) => generation,
        };
        self.inner.put_generation(project, chunk, generation, epoch).await?;
        Ok(PutOutcome::Stored)
    }

    /// Reads the chunk's content. Damage is marked in the store before the error is returned.
    pub async fn get_chunk(&self, project: ProjectId, expected: ChunkReference) -> Result<Chunk, Error> {
        Ok(self.get(project, expected).await?.1)
    }

    /// Reads the chunk as it is stored (its content was checked), to hand it on.
    pub async fn get_stored_chunk(&self, project: ProjectId, expected: ChunkReference) -> Result<StoredChunk, Error> {
        Ok(self.get(project, expected).await?.0)
    }

    /// Whether the manifest is there and not condemned. (Whether its chunks are, only reading them tells.)
    pub async fn has_manifest(&self, project: ProjectId, digest: Digest) -> Result<bool, Error> {
        let path = self.inner.manifest_path(project, digest);
        let (present, condemned) = tokio::try_join!(
            self.inner.exists("look for a manifest", &path),
            self.is_manifest_condemned(project, digest)
        )?;
        Ok(present && !condemned)
    }

    /// Writes the manifest. All of its chunks must have been written before: who finds a manifest takes them for granted.
    pub async fn put_manifest(&self, project: ProjectId, manifest: &Manifest) -> Result<(), Error> {
        let (inner, digest) = (&self.inner, manifest.digest());
        let _writing = inner.retention.writing(digest).await;
        let path = inner.manifest_path(project, digest);
        inner
            .put("write a manifest", &path, encode_object(manifest.encoded()).into())
            .await?;
        inner.absolve_manifest(project, digest).await
    }

    /// Reads and checks the manifest.
    pub async fn get_manifest(&self, project: ProjectId, digest: Digest) -> Result<Manifest, Error> {
        let (inner, what) = (&self.inner, "manifest");
        let place = || inner.place.clone();
        let damaged = |reason: String| Error::Damaged {
            place: place(),
            what,
            digest,
            reason,
        };
        // One byte more: how it is coded.
        let limit = u64::from(MAXIMUM_MANIFEST_BYTES) + 1;
        match inner
            .get("read a manifest", &inner.manifest_path(project, digest), limit)
            .await?
        {
            Fetched::Missing => Err(Error::Missing {
                place: place(),
                what,
                digest,
            }),
            Fetched::TooLarge(size) => Err(damaged(format!("it has {size} bytes"))),
            Fetched::Bytes(object) => {
                let bytes = decode_object(object, digest, MAXIMUM_MANIFEST_BYTES)
                    .map_err(|error: chunk::Error| damaged(error.to_string()))?;
                Manifest::decode(bytes).map_err(|error: manifest::Error| damaged(error.to_string()))
            }
        }
    }

    /// Forgets which chunks of a project are there: something is missing that should be. They are looked for again.
    pub fn distrust(&self, project: ProjectId) {
        self.inner.known().forget_project(project);
    }

    async fn get(&self, project: ProjectId, expected: ChunkReference) -> Result<(StoredChunk, Chunk), Error> {
        let inner = &self.inner;
        let digest = expected.digest;
        let mut damage = None;
        let epoch = inner.retention.epoch();
        let first = inner.known().get(&(project, digest), epoch).unwrap_or(0);
        for generation in first..MAXIMUM_GENERATIONS {
            let path = inner.chunk_path(project, digest, generation);
            let reason = match inner
                .get("read a chunk", &path, u64::from(MAXIMUM_STORED_CHUNK_BYTES))
                .await?
            {
                Fetched::Bytes(object) => match verify(object, expected).await? {
                    // It may be condemned: it is not known to be there.
                    Verdict::Whole(stored, chunk) => return Ok((stored, chunk)),
                    Verdict::WrongLength => return Err(Error::WrongLength(expected)),
                    Verdict::Damaged(error) => error.to_string(),
                },
                Fetched::TooLarge(size) => format!("it has {size} bytes"),
                Fetched::Missing if inner.is_marked(project, digest, generation).await? => continue,
                Fetched::Missing => break,
            };
            inner.quarantine(project, digest, generation, &reason).await;
            damage = Some(reason);
        }
        let was_known = inner.known().get(&(project, digest), epoch).is_some();
        if was_known && damage.is_none() {
            // Somebody else took it away, and may have taken more.
            self.distrust(project);
        }
        inner.known().remove(&(project, digest));
        let (place, what) = (inner.place.clone(), "chunk");
        Err(match damage {
            Some(reason) => Error::Damaged {
                place,
                what,
                digest,
                reason,
            },
            None => Error::Missing { place, what, digest },
        })
    }
}

impl fmt::Debug for ChunkStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChunkStore")
            .field("place", &self.inner.place)
            .finish_non_exhaustive()
    }
}

/// What a stored object turned out to be.
enum Verdict {
    Whole(StoredChunk, Chunk),
    Damaged(chunk::Error),
    WrongLength,
}

/// Decompressing and hashing take milliseconds: not on a thread that serves connections.
async fn verify(object: Bytes, expected: ChunkReference) -> Result<Verdict, Error> {
    let verify = move || match StoredChunk::verify(object.clone(), expected) {
        Ok((stored, chunk)) => Verdict::Whole(stored, chunk),
        // A manifest that lies must not make a good chunk pass for a damaged one.
        Err(_) if StoredChunk::verify_digest(object, expected.digest).is_ok() => Verdict::WrongLength,
        Err(error) => Verdict::Damaged(error),
    };
    tokio::task::spawn_blocking(verify)
        .await
        .map_err(|_| Error::Interrupted("checking a chunk"))
}

impl Inner {
    fn new(objects: Arc<dyn ObjectStore>, place: String, prefix: Path, patience: Patience) -> Self {
        Self {
            objects,
            place,
            prefix,
            instance: String::new(),
            owner: None,
            folder: None,
            patience,
            pace: Pace::default(),
            known: Mutex::default(),
            retention: Retention::default(),
            signing: None,
            rereading: Semaphore::new(1),
        }
    }

    /// Nobody uses the store before it is the owner's.
    async fn claim(mut self, owner: &Owner) -> Result<ChunkStore, Error> {
        self.instance = owner::claim(&self, owner).await?;
        self.owner = Some(owner.clone());
        Ok(ChunkStore { inner: Arc::new(self) })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // What is known is a cache: whatever a panicking thread left there is as good as before.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `epoch`: when it was begun to look where it belongs.
    async fn put_generation(
        &self,
        project: ProjectId,
        chunk: &StoredChunk,
        generation: u32,
        epoch: u64,
    ) -> Result<(), Error> {
        let digest = chunk.reference().digest;
        let payload: PutPayload = chunk.parts().into_iter().collect();
        self.put("write a chunk", &self.chunk_path(project, digest, generation), payload)
            .await?;
        self.known().insert((project, digest), generation, epoch);
        Ok(())
    }

    /// Marks a chunk as damaged. If even that fails, the next reader finds the damage again.
    async fn quarantine(&self, project: ProjectId, digest: Digest, generation: u32, reason: &str) {
        tracing::error!(place = %self.place, %project, %digest, generation, reason, "a stored chunk is damaged");
        self.known().census.note(project, digest);
        let path = self.damage_path(project, digest, generation);
        if let Err(error) = self
            .put("mark a chunk as damaged", &path, reason.to_owned().into())
            .await
        {
            tracing::error!(place = %self.place, %digest, %error, "the damaged chunk could not be marked");
        }
    }
}
