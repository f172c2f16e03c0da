//! What others may do in a store without credentials: single requests that its owner signs, for chunks.
//!
//! An upload is signed for a chunk that is absent, with `If-None-Match: *` and a checksum of the very bytes as parts of the
//! signature. So whoever has it can write these bytes once, and nothing else. That holds only if the store keeps to both, which
//! is tried before the first signature ([`probe`]).

mod probe;

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_artifact::{ChunkReference, StoredChunk};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::layout::Place;
use super::location::Signers;
use super::object::Fetched;
use super::{ChunkStore, Error, Inner};
use crate::direct::{Client, Deadlines, SignedRequest, UploadTerms};

/// Whether others may be handed signed requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectMode {
    /// Where the store can sign, and keeps to what is signed.
    #[default]
    Auto,
    /// Never: all bytes pass through the owner.
    Never,
}

/// How others reach a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectAccess {
    /// Whether the owner's own pods may.
    pub mode: DirectMode,
    /// The store's address (`https://host:port`) for them, if it is another than for the owner.
    pub endpoint: Option<String>,
    /// Whether other members may read.
    pub members: DirectMode,
    /// The store's address for them.
    pub members_endpoint: Option<String>,
}

impl DirectAccess {
    /// Nobody but the owner.
    pub const fn never() -> Self {
        Self {
            mode: DirectMode::Never,
            endpoint: None,
            members: DirectMode::Never,
            members_endpoint: None,
        }
    }

    /// Whether anybody may.
    pub(super) fn is_wanted(&self) -> bool {
        self.mode == DirectMode::Auto || self.members == DirectMode::Auto
    }
}

/// Who makes a request that the owner has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A pod of the owner's own.
    Pod,
    /// Another member.
    Member,
}

/// What others may do in a store by signed requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reachable {
    /// They may write chunks.
    pub uploads: bool,
    /// They may read chunks.
    pub downloads: bool,
    /// Which checksum of an object an upload is to be asked for with, beside its SHA-256.
    pub wants_md5: bool,
    /// PEM text of certificate authorities that the store's certificate may be signed by, beside the system's.
    pub certificates: Option<String>,
    /// What speaks against more, or against the store, in words.
    pub remarks: Vec<String>,
    /// The store refused to be signed for: a right is missing.
    pub refused: bool,
}

impl fmt::Display for Reachable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.uploads, self.downloads) {
            (true, true) => "pods may write and read chunks by signed requests",
            (false, true) => "pods may read chunks by signed requests, and write through the agent",
            (true, false) => "pods may write chunks by signed requests, and read through the agent",
            (false, false) => "pods write and read chunks through the agent",
        })?;
        self.remarks
            .iter()
            .try_for_each(|remark| write!(formatter, "; {remark}"))
    }
}

/// How the kind of store binds an upload to its bytes, and to a name that is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// `If-None-Match` and a checksum in SHA-256.
    S3,
    /// `x-goog-if-generation-match` and a checksum in MD5: it takes no better one.
    Gcs,
}

/// How a chunk comes into the store.
#[derive(Debug, Clone)]
pub enum UploadWay {
    /// It is there.
    Present,
    /// By this request.
    Signed(SignedRequest),
    /// Only through the owner.
    Owner,
}

/// What signs, and what was found out about it.
pub(super) struct Signing {
    signers: Signers,
    client: Client,
    trial: Mutex<Trial>,
    pods: DirectMode,
    members: DirectMode,
}

/// What became of trying the store.
#[derive(Debug, Clone)]
enum Trial {
    /// Nobody has asked yet.
    None,
    Done(Reachable),
    /// It could not be tried. Whoever asks before then is not kept waiting for it: the owner moves chunks, as ever.
    Failed {
        again_at: Instant,
    },
}

/// How long a store that could not be tried is left alone.
const TRIAL_PAUSE: Duration = Duration::from_secs(120);

impl Signing {
    pub(super) fn new(signers: Signers, access: &DirectAccess) -> Result<Self, String> {
        let client = Client::new(signers.certificates.as_deref(), Deadlines::default())?;
        Ok(Self {
            signers,
            client,
            trial: Mutex::new(Trial::None),
            pods: access.mode,
            members: access.members,
        })
    }
}

impl ChunkStore {
    /// What others may do by signed requests: nothing, while the store cannot be tried. It is tried at the first call; what was found
    /// counts until the end.
    ///
    /// # Errors
    /// If the store cannot be tried at present.
    pub async fn reachable(&self) -> Result<Reachable, Error> {
        match &self.inner.signing {
            Some(signing) if signing.pods == DirectMode::Auto => self.tried(signing).await,
            _ => Ok(Reachable::default()),
        }
    }

    /// As [`Self::reachable`], for other members, who may only read.
    ///
    /// # Errors
    /// If the store cannot be tried at present.
    pub async fn readable_elsewhere(&self) -> Result<Reachable, Error> {
        let found = match &self.inner.signing {
            Some(signing) if signing.members == DirectMode::Auto => self.tried(signing).await?,
            _ => Reachable::default(),
        };
        Ok(Reachable {
            uploads: false,
            ..found
        })
    }

    async fn tried(&self, signing: &Signing) -> Result<Reachable, Error> {
        let mut trial = signing.trial.lock().await;
        let found = match &*trial {
            Trial::Done(found) => found.clone(),
            Trial::Failed { again_at } if Instant::now() < *again_at => return Ok(Reachable::default()),
            Trial::None | Trial::Failed { .. } => {
                let again_at = Instant::now() + TRIAL_PAUSE;
                *trial = Trial::Failed { again_at };
                let found = probe::probe(&self.inner, signing).await?;
                *trial = Trial::Done(found.clone());
                found
            }
        };
        drop(trial);
        Ok(found)
    }

    /// Signs the upload of a chunk for `life` if it is absent.
    ///
    /// # Errors
    /// Those of the store; [`Error::Refused`] if the object would be too long for a chunk.
    pub async fn sign_upload(
        &self,
        project: ProjectId,
        digest: Digest,
        terms: &UploadTerms,
        life: Duration,
    ) -> Result<UploadWay, Error> {
        let inner = &self.inner;
        if terms.bytes == 0 || terms.bytes > u64::from(MAXIMUM_STORED_CHUNK_BYTES) {
            let reason = format!("no stored chunk has {} bytes", terms.bytes);
            return Err(inner.refused("sign an upload", reason));
        }
        let generation = match inner.place_for(project, digest).await? {
            Place::Present(_) => return Ok(UploadWay::Present),
            Place::Absent(generation) => generation,
        };
        let (Some(signing), true) = (&inner.signing, self.reachable().await?.uploads) else {
            return Ok(UploadWay::Owner);
        };
        let Some(binding) = signing.signers.binding.filter(|binding| terms.fit(*binding)) else {
            return Ok(UploadWay::Owner);
        };
        let path = inner.chunk_path(project, digest, generation);
        let signer = &signing.signers.others;
        let request = inner.sign_put(signer, &path, terms, binding, life).await?;
        inner.known().census.note(project, digest);
        Ok(UploadWay::Signed(request))
    }

    /// Signs the reading of a chunk for `life`; none if only the owner can read it, or it is not there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sign_download(
        &self,
        project: ProjectId,
        digest: Digest,
        life: Duration,
        audience: Audience,
    ) -> Result<Option<SignedRequest>, Error> {
        let inner = &self.inner;
        let reachable = match audience {
            Audience::Pod => self.reachable().await?,
            Audience::Member => self.readable_elsewhere().await?,
        };
        let (Some(signing), true) = (&inner.signing, reachable.downloads) else {
            return Ok(None);
        };
        let signer = match audience {
            Audience::Pod => &signing.signers.others,
            Audience::Member => &signing.signers.members,
        };
        let Place::Present(generation) = inner.locate(project, digest).await? else {
            return Ok(None);
        };
        let path = inner.chunk_path(project, digest, generation);
        Ok(Some(inner.sign_get(signer, &path, life).await?))
    }

    /// Whether the chunk is there with as many bytes as it was to be uploaded with. If it has others, it is read, and marked if
    /// it is damaged.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn confirm_upload(&self, project: ProjectId, digest: Digest, bytes: u64) -> Result<bool, Error> {
        self.inner.confirm(project, digest, bytes..=bytes).await
    }

    /// Whether the chunk of a manifest is there, with a size that it can have.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn holds_chunk(&self, project: ProjectId, chunk: ChunkReference) -> Result<bool, Error> {
        // One byte more: how it is coded.
        let longest = u64::from(chunk.length) + 1;
        let epoch = self.inner.retention.epoch();
        let known = self.inner.known().get(&(project, chunk.digest), epoch);
        match known {
            Some(_) => Ok(true),
            None => self.inner.confirm(project, chunk.digest, 1..=longest).await,
        }
    }
}

impl Inner {
    async fn confirm(&self, project: ProjectId, digest: Digest, sizes: RangeInclusive<u64>) -> Result<bool, Error> {
        loop {
            let Place::Present(generation) = self.locate(project, digest).await? else {
                return Ok(false);
            };
            let path = self.chunk_path(project, digest, generation);
            match self.size("look at a chunk", &path).await? {
                Some(size) if sizes.contains(&size) => return Ok(true),
                Some(_) if self.is_whole(project, digest, generation).await? => return Ok(true),
                // Marked by now: the next generation counts.
                Some(_) => self.known().remove(&(project, digest)),
                None => {
                    self.known().remove(&(project, digest));
                    return Ok(false);
                }
            }
        }
    }

    /// Reads a chunk whose length nobody has told; one that is damaged is marked.
    async fn is_whole(&self, project: ProjectId, digest: Digest, generation: u32) -> Result<bool, Error> {
        let _turn = self.rereading.acquire().await;
        let path = self.chunk_path(project, digest, generation);
        let limit = u64::from(MAXIMUM_STORED_CHUNK_BYTES);
        let reason = match self.get("read a chunk", &path, limit).await? {
            Fetched::Missing => return Ok(false),
            Fetched::TooLarge(size) => format!("it has {size} bytes"),
            Fetched::Bytes(object) => {
                let verify = move || StoredChunk::verify_digest(object, digest).map(drop);
                let verified = tokio::task::spawn_blocking(verify).await;
                match verified.map_err(|_| Error::Interrupted("checking a chunk"))? {
                    Ok(()) => return Ok(true),
                    Err(error) => error.to_string(),
                }
            }
        };
        self.quarantine(project, digest, generation, &reason).await;
        Ok(false)
    }

    async fn size(&self, operation: &'static str, path: &Path) -> Result<Option<u64>, Error> {
        self.retry(operation, || async {
            match self.objects.head(path).await {
                Ok(found) => Ok(Some(found.size)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn sign_put(
        &self,
        signer: &Arc<dyn Signer>,
        path: &Path,
        terms: &UploadTerms,
        binding: Binding,
        life: Duration,
    ) -> Result<SignedRequest, Error> {
        let headers = terms.headers(binding);
        let mut options = SignedUrlOptions::default();
        options.signed_headers.clone_from(&headers);
        let url = self
            .retry("sign an upload", || {
                signer.signed_url_opts(Method::PUT, path, life, &options)
            })
            .await?;
        Ok(SignedRequest::new(&url, headers))
    }

    async fn sign_get(&self, signer: &Arc<dyn Signer>, path: &Path, life: Duration) -> Result<SignedRequest, Error> {
        let url = self
            .retry("sign a download", || signer.signed_url(Method::GET, path, life))
            .await?;
        Ok(SignedRequest::new(&url, http::HeaderMap::new()))
    }

    pub(super) fn refused(&self, operation: &'static str, reason: String) -> Error {
        Error::Refused {
            place: self.place.clone(),
            operation,
            reason,
            status: None,
        }
    }
}
