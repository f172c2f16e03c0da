//! One file of an output, or a part of one: only the chunks that it needs are read.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use tombolo_artifact::manifest::EntryKind;

use super::part::{self, Part};
use super::query::Parameters;
use super::{
    Application, Error, InProject, JobPath, Path, Problems, Viewer, archive, download, missing, open, produced,
    unreadable,
};

/// One file of a job's output
///
/// A part of it with `Range: bytes=...`, to go on with a download that broke off; `If-Range` takes the `ETag`.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/output/file", tag = "outputs",
    security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The job's name, with `/` written as `%2F`"),
        ("path" = String, Query, description = "The file's path in the output; bytes that are not UTF-8 as `%XX`"),
        ("range" = Option<String>, Header, description = "One range of bytes; several are answered with the whole file"),
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream", description = "The part that was asked for"),
        Problems
    )
)]
pub(in crate::rest) async fn download_file(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let wanted = Parameters::read(query.as_deref(), &["path"])?.path();
    let permit = state.stream_permit()?;
    let (found, output) = open(&state, &access.project, &path).await?;
    let Some(EntryKind::File { size, offset, .. }) = output.manifest.entry(&wanted).map(|entry| entry.kind) else {
        let explained = tokio::task::spawn_blocking(move || missing::no_file(&found, &output.manifest, &wanted));
        return Err(explained
            .await
            .unwrap_or_else(|error| Error::internal("looking for a file of an output", error)));
    };
    let tag = format!("\"{}\"", output.manifest.digest());
    let part = match Part::of(&headers, &tag, size) {
        Ok(part) => part,
        Err(error) => return Ok(part::unsatisfiable(error, size)),
    };
    let (from, length) = part.map_or((0, size), |part| (part.from, part.length));
    let name = wanted.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let body = produced(move |sink| async move {
        let _permit = permit;
        let span = output.manifest.span(offset + from, length);
        let chunks = output.chunks(span.first_chunk, span.chunk_count);
        archive::write_file(u64::from(span.skip), span.size, chunks, sink).await
    });
    let body = body.begun().await.map_err(unreadable)?;
    let mut response = download(body, "application/octet-stream", Some(length), &name);
    part::tell(&mut response, part, &tag, size);
    Ok(response)
}
