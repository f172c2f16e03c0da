//! Uploading the source of a build into the master's own store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tombolo_api::problem::Code;
use tombolo_api::{MissingChunks, MissingChunksQuery, limit};
use tombolo_artifact::chunk::{MAXIMUM_CHUNK_BYTES, MAXIMUM_STORED_CHUNK_BYTES};
use tombolo_artifact::manifest::MAXIMUM_MANIFEST_BYTES;
use tombolo_artifact::{Manifest, StoredChunk, check_links};
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_transfer::store;

use super::authorization::{Developer, InProject};
use super::error::Problems;
use super::extract::{Json, Path, declared_length, read_body};
use super::{Application, Error};

/// How long a chunk or a manifest may take to arrive: 16 MiB at 1.2 Mbit/s.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(120);

/// How long an upload waits for memory before it is told to come again.
const BUDGET_WAIT: Duration = Duration::from_secs(30);

/// The memory that uploads may take at once, as sent and decompressed: three of the largest chunks, or some five of common size.
const UPLOAD_BYTES: usize = 96 << 20;

/// How many questions are asked of the store at once.
const LOOKUPS_AT_ONCE: usize = 16;

/// How many missing chunks a problem names.
const NAMED_CHUNKS: usize = 3;

/// Shares of [`UPLOAD_BYTES`].
#[derive(Debug, Clone)]
pub(super) struct UploadBudget(Arc<Semaphore>);

impl Default for UploadBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UPLOAD_BYTES)))
    }
}

impl UploadBudget {
    /// Waits until a body fits, together with what it becomes when it is decompressed.
    async fn take(&self, declared: Option<u64>, limit: u32) -> Result<OwnedSemaphorePermit, Error> {
        let declared = declared.and_then(|length| u32::try_from(length).ok());
        let share = declared.unwrap_or(limit).min(limit) + MAXIMUM_CHUNK_BYTES;
        let taken = tokio::time::timeout(BUDGET_WAIT, self.0.clone().acquire_many_owned(share)).await;
        let busy = || {
            Error::new(
                Code::Overloaded,
                "more is being uploaded than this master takes at once",
            )
        };
        taken.map_err(|_| busy())?.map_err(|_| busy())
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Missing { what, digest, .. } => Self::not_found(what, digest),
            store::Error::Unreachable { .. } => {
                tracing::warn!(%error, "the store of sources does not answer");
                Self::new(
                    Code::Unavailable,
                    "the master cannot reach its store of sources at the moment",
                )
            }
            error => Self::internal("using the store of sources", error),
        }
    }
}

/// Which chunks are missing
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/source/missing", tag = "source", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(("project" = String, Path, description = "The project's name")),
    request_body = MissingChunksQuery,
    responses((status = 200, body = MissingChunks), Problems)
)]
pub(super) async fn missing_chunks(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Json(query): Json<MissingChunksQuery>,
) -> Result<Answer<MissingChunks>, Error> {
    if query.chunks.len() > limit::MISSING_CHUNKS {
        let (count, limit) = (query.chunks.len(), limit::MISSING_CHUNKS);
        return Err(Error::new(
            Code::TooLarge,
            format_args!("{count} chunks are asked for; at most {limit} are allowed"),
        ));
    }
    let length_allowed = 1..=u64::from(MAXIMUM_CHUNK_BYTES);
    if let Some(index) = query
        .chunks
        .iter()
        .position(|chunk| !length_allowed.contains(&chunk.bytes))
    {
        let bytes = query.chunks[index].bytes;
        let detail = format!("body: `chunks[{index}].bytes` is {bytes}; 1 to {MAXIMUM_CHUNK_BYTES} are allowed");
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    let digests = query.chunks.into_iter().map(|chunk| chunk.digest);
    let missing = find_missing(&state, access.project.id, digests).await?;
    Ok(Answer(MissingChunks { missing }))
}

#[derive(Deserialize)]
pub(super) struct ContentPath {
    digest: Digest,
}

/// Uploads a chunk
///
/// The body is the chunk as it is stored: a byte that says how it is coded, then the content. It is checked against the digest.
#[utoipa::path(
    put, path = "/api/v1/projects/{project}/source/chunks/{digest}", tag = "source", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("digest" = String, Path, description = "The BLAKE3 digest of the chunk's content"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), Problems)
)]
pub(super) async fn upload_chunk(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path(path): Path<ContentPath>,
    request: Request,
) -> Result<StatusCode, Error> {
    let check = move |body| {
        let (chunk, _) = StoredChunk::verify_digest(body, path.digest).map_err(invalid)?;
        Ok(chunk)
    };
    state.sources.upload(access.project.id).await?;
    let (chunk, _share) = receive(&state, request, MAXIMUM_STORED_CHUNK_BYTES, check).await?;
    state.sources.store().put_chunk(access.project.id, &chunk).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Uploads a manifest
///
/// It makes the source complete: all its chunks must have been uploaded before.
#[utoipa::path(
    put, path = "/api/v1/projects/{project}/source/manifests/{digest}", tag = "source", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("developer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("digest" = String, Path, description = "The BLAKE3 digest of the manifest"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), Problems)
)]
pub(super) async fn upload_manifest(
    State(state): State<Arc<Application>>,
    access: InProject<Developer>,
    Path(path): Path<ContentPath>,
    request: Request,
) -> Result<StatusCode, Error> {
    let check = move |body| read_manifest(body, path.digest);
    let (manifest, _share) = receive(&state, request, MAXIMUM_MANIFEST_BYTES, check).await?;
    let digests: Vec<Digest> = manifest.chunks().map(|chunk| chunk.digest).collect();
    let missing = find_missing(&state, access.project.id, digests).await?;
    if !missing.is_empty() {
        let named: Vec<String> = missing.iter().take(NAMED_CHUNKS).map(Digest::to_string).collect();
        let detail = format!(
            "{} chunks of the manifest were not uploaded: {}",
            missing.len(),
            named.join(", ")
        );
        return Err(Error::new(Code::MissingContent, detail));
    }
    state.sources.expect_build(access.project.id, path.digest);
    state.sources.store().put_manifest(access.project.id, &manifest).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a body within the memory that uploads may take, and checks it away from the threads that serve connections. What it
/// became may be held as long as the permit.
async fn receive<T: Send + 'static>(
    state: &Application,
    request: Request,
    limit: u32,
    check: impl FnOnce(Bytes) -> Result<T, Error> + Send + 'static,
) -> Result<(T, OwnedSemaphorePermit), Error> {
    let share = state.capacity.uploads.take(declared_length(&request), limit).await?;
    let body = read_body(request, limit as usize, UPLOAD_DEADLINE).await?;
    let checked = tokio::task::spawn_blocking(move || check(body)).await;
    let checked = checked.map_err(|error| Error::internal("checking an upload", error))??;
    Ok((checked, share))
}

fn invalid(detail: impl fmt::Display) -> Error {
    Error::new(Code::InvalidContent, detail)
}

fn read_manifest(body: Bytes, digest: Digest) -> Result<Manifest, Error> {
    let manifest = Manifest::decode(body).map_err(|error| invalid(format_args!("the manifest is invalid: {error}")))?;
    if manifest.digest() != digest {
        return Err(invalid(format_args!(
            "the manifest's digest is {}, not {digest}",
            manifest.digest()
        )));
    }
    // Agents refuse such a source too: the submitter is to hear of it, not the job.
    check_links(&manifest).map_err(|error| {
        invalid(format_args!("the source is not taken: {error}"))
            .with_hint("exclude the link by a line in `.tomboloignore`, or put a copy in its place")
    })?;
    Ok(manifest)
}

/// Those of the chunks that are not there, in their order.
async fn find_missing(
    state: &Application,
    project: ProjectId,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<Vec<Digest>, Error> {
    state.sources.upload(project).await?;
    let store = state.sources.store();
    let lookups = futures::stream::iter(digests)
        .map(|digest| async move { Ok::<_, Error>((digest, store.has_chunk(project, digest).await?)) })
        .buffered(LOOKUPS_AT_ONCE);
    let missing = lookups.try_filter_map(|(digest, there)| async move { Ok((!there).then_some(digest)) });
    missing.try_collect().await
}
