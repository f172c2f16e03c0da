//! What jobs left behind.

mod file;
mod missing;
mod part;
mod query;

use std::io;
use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, HeaderValue, header};
use tombolo_api::problem::Code;
use tombolo_api::{DateTime, EntryKind, OutputEntry, OutputListing, limit};
use tombolo_artifact::manifest;
use tombolo_core::build::JobState;
use tombolo_core::control::record::Project;

use super::authorization::{InProject, Viewer};
use super::error::Problems;
use super::extract::Path;
use super::job::{FoundJob, JobPath, find_job};
use super::kept::{Removal, removal};
use super::produced::produced;
use super::{Application, Error};
use crate::outputs::{self, Output, archive, sums};
pub(super) use file::{__path_download_file, download_file};
use missing::missing;
use part::Part;
use query::Parameters;

impl From<outputs::Error> for Error {
    fn from(error: outputs::Error) -> Self {
        match error {
            outputs::Error::Busy => Self::new(Code::Overloaded, error),
            outputs::Error::Internal(_) => Self::internal("reading an output", error),
            error => Self::new(Code::OutputUnavailable, error),
        }
    }
}

/// What is in a job's output
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/output", tag = "outputs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
        ("path" = Option<String>, Query, description = "Only what is there: a file, or a folder with all that is below it"),
        ("offset" = Option<u64>, Query, description = "How many entries to leave out; 0 by default"),
        ("limit" = Option<u32>, Query, description = "How many entries at the most, 1 to 10,000; 10,000 by default"),
    ),
    responses((status = 200, body = OutputListing), Problems)
)]
pub(super) async fn list_output(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    RawQuery(query): RawQuery,
) -> Result<Answer<OutputListing>, Error> {
    let query = Parameters::read(query.as_deref(), &["path", "offset", "limit"])?;
    let (offset, limit) = (query.number("offset")?.unwrap_or(0), query.number("limit")?);
    let limit = limit.unwrap_or(u64::from(limit::ENTRIES_PAGE));
    if limit == 0 || limit > u64::from(limit::ENTRIES_PAGE) {
        let detail = format!("query: `limit` is {limit}; 1 to {} are allowed", limit::ENTRIES_PAGE);
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    let wanted = query.path();
    let (found, output) = open(&state, &access.project, &path).await?;
    let listed = tokio::task::spawn_blocking(move || {
        let listing = list(&output.manifest, &wanted, offset, limit);
        if listing.total_entries == 0 && !wanted.is_empty() {
            return Err(missing(&found, &output.manifest, &wanted));
        }
        Ok(listing)
    });
    let listed = listed
        .await
        .map_err(|error| Error::internal("listing an output", error))?;
    Ok(Answer(listed?))
}

/// A page of what is at `path`: all of it if that is empty.
fn list(manifest: &manifest::Manifest, path: &[u8], offset: u64, limit: u64) -> OutputListing {
    let mut listing = OutputListing {
        digest: manifest.digest(),
        bytes: 0,
        files: 0,
        total_entries: 0,
        entries: Vec::new(),
        next_offset: None,
    };
    for found in manifest.entries().filter(|entry| entry.lies_in(path)) {
        if let manifest::EntryKind::File { size, .. } = found.kind {
            listing.files += 1;
            listing.bytes += size;
        }
        if listing.total_entries >= offset && (listing.entries.len() as u64) < limit {
            listing.entries.push(entry(&found));
        }
        listing.total_entries += 1;
    }
    let next = offset.saturating_add(listing.entries.len() as u64);
    listing.next_offset = (next < listing.total_entries).then_some(next);
    listing
}

fn entry(entry: &manifest::Entry<'_>) -> OutputEntry {
    let (kind, mode, bytes, target) = match entry.kind {
        manifest::EntryKind::Directory { mode } => (EntryKind::Directory, mode, 0, None),
        manifest::EntryKind::File { mode, size, .. } => (EntryKind::File, mode, size, None),
        manifest::EntryKind::Symlink { target } => (EntryKind::Symlink, 0o777, 0, Some(target)),
    };
    let path = String::from_utf8_lossy(&entry.path);
    let encoded = matches!(path, std::borrow::Cow::Owned(_)).then(|| STANDARD.encode(&entry.path));
    OutputEntry {
        path: path.into_owned(),
        path_base64: encoded,
        kind,
        mode: u32::from(mode),
        bytes,
        target: target.map(|target| String::from_utf8_lossy(target).into_owned()),
    }
}

/// A job's output as a tar archive
///
/// The archive is made while it is sent. If it cannot be finished, the connection breaks off: `Range: bytes=...` gives the rest, or an
/// answer that says what is wrong. `If-Range` takes the `ETag`.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/output/archive", tag = "outputs",
    security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
        ("path" = Option<String>, Query, description = "Only what is in this folder of it, with names relative to it"),
        ("range" = Option<String>, Header, description = "One range of bytes; several are answered with the whole archive"),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/x-tar"),
        (status = 206, body = Vec<u8>, content_type = "application/x-tar", description = "The part that was asked for"),
        Problems
    )
)]
pub(super) async fn download_archive(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let wanted = Parameters::read(query.as_deref(), &["path"])?.path();
    let permit = state.stream_permit()?;
    let (found, output) = open(&state, &access.project, &path).await?;
    let kind = output.manifest.entry(&wanted).map(|entry| entry.kind);
    if !wanted.is_empty() && !matches!(kind, Some(manifest::EntryKind::Directory { .. })) {
        return Err(not_a_folder(found, output, wanted).await?);
    }
    let last = wanted.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let (number, job) = (found.build.number, found.node.name.last_segment());
    let mut name = format!("{}-{number}-{job}", access.project.name).into_bytes();
    if !last.is_empty() {
        name.extend_from_slice(&[b"-", last].concat());
    }
    name.extend_from_slice(b".tar");
    let measured = tokio::task::spawn_blocking(move || {
        let size = archive::length(&output.manifest, &wanted);
        (output, wanted, size)
    });
    let (output, wanted, size) = measured
        .await
        .map_err(|error| Error::internal("measuring an archive", error))?;
    let tag = format!("\"tar{}-{}\"", archive::VERSION, output.manifest.digest());
    let part = match Part::of(&headers, &tag, size) {
        Ok(part) => part,
        Err(error) => return Ok(part::unsatisfiable(error, size)),
    };
    let (from, length) = part.map_or((0, size), |part| (part.from, part.length));
    let body = produced(move |sink| async move {
        let _permit = permit;
        archive::write(&output, &wanted, from..from + length, sink).await
    });
    let body = body.begun().await.map_err(unreadable)?;
    let mut response = download(body, "application/x-tar", Some(length), &name);
    part::tell(&mut response, part, &tag, size);
    Ok(response)
}

/// Why there is no folder at a path.
async fn not_a_folder(found: FoundJob, output: Output, wanted: Vec<u8>) -> Result<Error, Error> {
    let explained = tokio::task::spawn_blocking(move || missing::no_folder(&found, &output.manifest, &wanted));
    explained
        .await
        .map_err(|error| Error::internal("looking for a folder of an output", error))
}

/// The SHA-256 sums of a job's output
///
/// One line for each file, as `sha256sum` writes and checks them. They are made while they are sent; if they cannot be finished,
/// the connection breaks off.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/output/sums", tag = "outputs",
    security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
    ),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems)
)]
pub(super) async fn list_sums(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    Parameters::read(query.as_deref(), &[])?;
    let permit = state.stream_permit()?;
    let (found, output) = open(&state, &access.project, &path).await?;
    let (number, job) = (found.build.number, found.node.name.last_segment());
    let name = format!("{}-{number}-{job}.sha256", access.project.name);
    let body = produced(move |sink| async move {
        let _permit = permit;
        sums::write(&output.manifest, output.all_chunks(), sink).await
    });
    let body = body.begun().await.map_err(unreadable)?;
    // Names may be of any bytes: this is no text of a known encoding.
    Ok(download(body, "application/octet-stream", None, name.as_bytes()))
}

/// Why nothing of an output can be read.
fn unreadable(error: io::Error) -> Error {
    match error.downcast::<outputs::Error>() {
        Ok(error) => error.into(),
        Err(error) => Error::internal("reading an output", error),
    }
}

/// A download, never to be shown in place: what a job wrote is not to run in the browser of whoever looks at it.
fn download(
    body: impl Stream<Item = Result<Bytes, io::Error>> + Send + 'static,
    media_type: &'static str,
    length: Option<u64>,
    name: &[u8],
) -> Response {
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let disposition = format!("attachment; filename*=UTF-8''{}", tombolo_api::path::encode_bytes(name));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The job and its output, which its cluster has.
async fn open(state: &Application, project: &Project, path: &JobPath) -> Result<(FoundJob, Output), Error> {
    let found = find_job(state, project, path).await?;
    found.refuse_array("output")?;
    let ended = found.status.as_ended();
    let (Some(reference), Some(maker)) = (ended.output, ended.cluster.clone()) else {
        let name = &found.node.name;
        let words = match ended.state {
            JobState::Terminal(state) => format!("job `{name}` left no output; it ended as {state}"),
            state => format!("job `{name}` has no output yet; it is {state}"),
        };
        return Err(Error::new(Code::NoOutput, words));
    };
    let name = &found.node.name;
    if let Some(removal) = removal(&found.build, &found.node, state.clock.now().wall) {
        let at = DateTime::from(removal.at());
        let words = match removal {
            Removal::Released(_) => format!("the output of job `{name}` was removed by retention at {at}"),
            Removal::Expired(_) => {
                format!("the output of job `{name}` was kept until {at}, as the job says (`outputs.keep`)")
            }
        };
        let error = Error::new(Code::OutputReleased, words);
        return Err(match removal {
            Removal::Released(_) => error,
            Removal::Expired(_) => {
                error.with_hint("to have it for longer, raise `outputs.keep` in the job file, and run the job again")
            }
        });
    }
    if let Some(reason) = found.status.output_lost() {
        return Err(match found.status.is_recovering() {
            true => Error::new(
                Code::OutputRecovering,
                format_args!("the output of job `{name}` was lost, and is made again: {reason}"),
            ),
            false => Error::new(
                Code::OutputLost,
                format_args!("the output of job `{name}` is lost: {reason}"),
            ),
        });
    }
    let (build, status) = (found.build.clone(), found.status.clone());
    let place = state
        .handle
        .query(move |control| match control.output_gone(&build, &status) {
            Some(reason) => Err(reason),
            None => Ok(control.output_at(&build, &status)),
        });
    let cluster = match place.await? {
        Ok(place) => place.unwrap_or(maker),
        Err(reason) => {
            let words = format_args!("the output of job `{name}` is lost: {reason}");
            return Err(Error::new(Code::OutputLost, words).with_hint(format_args!(
                "`tombolo rerun {} {name}` makes it again, in a new build",
                found.build.number
            )));
        }
    };
    let output = state.outputs.open(&cluster, project.id, reference.manifest).await?;
    Ok((found, output))
}
