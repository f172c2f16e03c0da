//! What jobs left behind.

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
use http::{HeaderValue, header};
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{DateTime, EntryKind, OutputEntry, OutputListing, limit};
use tombolo_artifact::{DisplayPath, manifest};
use tombolo_core::control::record::Project;
use tombolo_core::name::JobName;

use super::authorization::{InProject, Viewer};
use super::error::Problems;
use super::extract::{Path, Query};
use super::job::{FoundJob, JobPath, find_job};
use super::produced::produced;
use super::{Application, Error};
use crate::outputs::{self, Output, archive};

impl From<outputs::Error> for Error {
    fn from(error: outputs::Error) -> Self {
        match error {
            outputs::Error::Busy => Self::new(Code::Overloaded, error),
            outputs::Error::Internal(_) => Self::internal("reading an output", error),
            error => Self::new(Code::OutputUnavailable, error),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    offset: Option<u64>,
    limit: Option<u32>,
}

/// What is in a job's output
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/output", tag = "outputs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
        ("offset" = Option<u64>, Query, description = "How many entries to leave out; 0 by default"),
        ("limit" = Option<u32>, Query, description = "How many entries at the most, 1 to 10,000; 10,000 by default"),
    ),
    responses((status = 200, body = OutputListing), Problems)
)]
pub(super) async fn list_output(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    Query(page): Query<Page>,
) -> Result<Answer<OutputListing>, Error> {
    let limit = page.limit.unwrap_or(limit::ENTRIES_PAGE);
    if limit == 0 || limit > limit::ENTRIES_PAGE {
        let detail = format!("query: `limit` is {limit}; 1 to {} are allowed", limit::ENTRIES_PAGE);
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    let (_, output) = open(&state, &access.project, &path).await?;
    let listed = tokio::task::spawn_blocking(move || list(&output, page.offset.unwrap_or(0), limit)).await;
    Ok(Answer(
        listed.map_err(|error| Error::internal("listing an output", error))?,
    ))
}

fn list(output: &Output, offset: u64, limit: u32) -> OutputListing {
    let manifest = &output.manifest;
    let total_entries = u64::from(manifest.entry_count());
    let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
    let entries: Vec<_> = manifest
        .entries()
        .skip(skipped)
        .take(limit as usize)
        .map(|found| entry(&found))
        .collect();
    let next = offset.saturating_add(entries.len() as u64);
    OutputListing {
        digest: manifest.digest(),
        bytes: manifest.bytes(),
        files: manifest.files(),
        total_entries,
        entries,
        next_offset: (next < total_entries).then_some(next),
    }
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
/// The archive is made while it is sent. If it cannot be finished, the connection breaks off.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/output/archive", tag = "outputs",
    security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
    ),
    responses((status = 200, body = Vec<u8>, content_type = "application/x-tar"), Problems)
)]
pub(super) async fn download_archive(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
) -> Result<Response, Error> {
    let permit = state.stream_permit()?;
    let (found, output) = open(&state, &access.project, &path).await?;
    let name = format!(
        "{}-{}-{}.tar",
        access.project.name,
        found.build.number,
        found.node.name.last_segment()
    );
    let body = produced(move |sink| async move {
        let _permit = permit;
        archive::write(&output.manifest, output.all_chunks(), sink).await
    });
    Ok(download(body, "application/x-tar", None, name.as_bytes()))
}

/// One file of a job's output
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/output/file", tag = "outputs",
    security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
        ("path" = String, Query, description = "The file's path in the output; bytes that are not UTF-8 as `%XX`"),
    ),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), Problems)
)]
pub(super) async fn download_file(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    RawQuery(query): RawQuery,
) -> Result<Response, Error> {
    let wanted = file_path(query.as_deref().unwrap_or_default())?;
    let permit = state.stream_permit()?;
    let (found, output) = open(&state, &access.project, &path).await?;
    let Some(range) = output.manifest.range(&wanted) else {
        return Err(no_file(&found.node.name, &output.manifest, &wanted));
    };
    let name = wanted.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let body = produced(move |sink| async move {
        let _permit = permit;
        let chunks = output.chunks(range.first_chunk, range.chunk_count);
        archive::write_file(u64::from(range.skip), range.size, chunks, sink).await
    });
    Ok(download(body, "application/octet-stream", Some(range.size), &name))
}

/// Why there is no such file, and what there is instead.
fn no_file(job: &JobName, manifest: &manifest::Manifest, wanted: &[u8]) -> Error {
    let shown = DisplayPath::new(wanted);
    let without_slash = wanted.strip_suffix(b"/").unwrap_or(wanted);
    let entry = manifest.entries().find(|entry| entry.path == without_slash);
    let (detail, hint) = match entry.map(|entry| entry.kind) {
        Some(manifest::EntryKind::Directory { .. }) => (
            format!("`{shown}` in the output of job `{job}` is a folder, and only files can be downloaded alone"),
            "name a file in it, or download the whole output: `tombolo outputs get BUILD JOB`".to_owned(),
        ),
        Some(manifest::EntryKind::Symlink { target }) => {
            let target = DisplayPath::new(target);
            (
                format!("`{shown}` in the output of job `{job}` is a symbolic link to `{target}`, not a file"),
                "name the file that it leads to, or download the whole output: `tombolo outputs get BUILD JOB`"
                    .to_owned(),
            )
        }
        _ => (
            format!("the output of job `{job}` has no file `{shown}`"),
            "`tombolo outputs ls` lists the files of an output".to_owned(),
        ),
    };
    Error::new(Code::NotFound, detail).with_hint(hint)
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
    let (Some(reference), Some(cluster)) = (found.status.output, found.status.cluster.clone()) else {
        let (name, state) = (&found.node.name, found.status.state);
        return Err(Error::new(
            Code::NoOutput,
            format_args!("job `{name}` has no output; it is {state}"),
        ));
    };
    if let Some(released_at) = found.build.released_at {
        let (name, at) = (&found.node.name, DateTime::from(released_at));
        return Err(Error::new(
            Code::OutputReleased,
            format_args!("the output of job `{name}` was removed by retention at {at}"),
        ));
    }
    let output = state.outputs.open(&cluster, project.id, reference.manifest).await?;
    Ok((found, output))
}

/// The one parameter of the query, `path`, as bytes.
fn file_path(query: &str) -> Result<Vec<u8>, Error> {
    let invalid = |detail: &str| Error::new(Code::InvalidRequest, format_args!("query: {detail}"));
    let (key, value) = query.split_once('=').ok_or_else(|| invalid("`path` is missing"))?;
    if key != "path" || value.contains('&') {
        return Err(invalid("`path` is the only parameter"));
    }
    let mut path = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => {
                let digits =
                    [bytes.next(), bytes.next()].map(|digit| char::from(digit.unwrap_or_default()).to_digit(16));
                let [Some(high), Some(low)] = digits else {
                    return Err(invalid(
                        "`path` has a `%` that is not followed by two hexadecimal digits",
                    ));
                };
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            b'+' => b' ',
            byte => byte,
        };
        path.push(decoded);
    }
    if path.is_empty() {
        Err(invalid("`path` is empty"))
    } else {
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_files_come_as_bytes() {
        for (query, expected) in [
            ("path=a", Some(&b"a"[..])),
            ("path=a%2Fb%20c", Some(b"a/b c")),
            ("path=%FF%c3", Some(b"\xff\xc3")),
            ("path=a+b", Some(b"a b")),
            ("path=", None),
            ("path=%F", None),
            ("path=%zz", None),
            ("other=a", None),
            ("path=a&other=b", None),
            ("", None),
        ] {
            assert_eq!(file_path(query).ok().as_deref(), expected, "{query}");
        }
        let name = b"caf\xc3\xa9/\xff x";
        let built = format!("path={}", tombolo_api::path::encode_bytes(name));
        assert_eq!(file_path(&built).unwrap(), name);
    }
}
