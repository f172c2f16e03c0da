//! One file of an output, or a part of one: only the chunks that it needs are read.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_range_header::{EndPosition, StartPosition};
use tombolo_api::problem::Code;
use tombolo_artifact::manifest::EntryKind;

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
        Err(error) => return Ok(unsatisfiable(error, size)),
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
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(Part { from, length }) = part {
        insert_content_range(headers, &format!("bytes {from}-{}/{size}", from + length - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

fn insert_content_range(headers: &mut HeaderMap, range: &str) {
    if let Ok(range) = HeaderValue::from_str(range) {
        headers.insert(header::CONTENT_RANGE, range);
    }
}

fn unsatisfiable(error: Error, size: u64) -> Response {
    let mut response = error.into_response();
    insert_content_range(response.headers_mut(), &format!("bytes */{size}"));
    response
}

/// A part of a file that was asked for; not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: u64,
    length: u64,
}

impl Part {
    /// None if all of the file is to be sent: nothing else was asked for, or what was asked for is of another output, or of a kind
    /// that a server may leave aside (RFC 9110: several ranges, other units, what it does not understand).
    fn of(headers: &HeaderMap, tag: &str, size: u64) -> Result<Option<Self>, Error> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if text(header::IF_RANGE).is_some_and(|condition| condition != tag) {
            return Ok(None);
        }
        let Some(range) = text(header::RANGE) else {
            return Ok(None);
        };
        let unsatisfiable = || {
            Error::new(
                Code::RangeNotSatisfiable,
                format_args!("the file has {size} bytes, and `{range}` asks for none of them"),
            )
        };
        // The library does not know it.
        let last = range.strip_prefix("bytes=-").unwrap_or_default();
        if !last.is_empty() && last.bytes().all(|digit| digit == b'0') {
            return Err(unsatisfiable());
        }
        let Ok(parsed) = http_range_header::parse_range_header(range) else {
            return Ok(None);
        };
        let [asked] = parsed.ranges.as_slice() else {
            return Ok(None);
        };
        // A range that ends before it starts is not one.
        if matches!((asked.start, asked.end), (StartPosition::Index(from), EndPosition::Index(to)) if to < from) {
            return Ok(None);
        }
        // More last bytes than there are: all of them.
        if matches!(asked.start, StartPosition::FromLast(bytes) if bytes >= size && size > 0) {
            return Ok(Some(Self { from: 0, length: size }));
        }
        // Of an empty file the library makes the first byte.
        let ranges = parsed.validate(size).ok().filter(|_| size > 0);
        let range = ranges
            .as_ref()
            .and_then(|ranges| ranges.first())
            .ok_or_else(unsatisfiable)?;
        Ok(Some(Self {
            from: *range.start(),
            length: range.end() - range.start() + 1,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_was_asked_for() {
        const ALL: Result<Option<(u64, u64)>, ()> = Ok(None);
        for (range, condition, size, expected) in [
            (None, None, 10, ALL),
            (Some("bytes=0-3"), None, 10, Ok(Some((0, 4)))),
            (Some("bytes=4-"), None, 10, Ok(Some((4, 6)))),
            (Some("bytes=4-100"), None, 10, Ok(Some((4, 6)))),
            (Some("bytes=-3"), None, 10, Ok(Some((7, 3)))),
            (Some("bytes=9-9"), Some("\"tag\""), 10, Ok(Some((9, 1)))),
            (Some("bytes=9-9"), Some("\"other\""), 10, ALL),
            (Some("bytes=10-"), None, 10, Err(())),
            (Some("bytes=0-"), None, 0, Err(())),
            (Some("bytes=0-1,4-5"), None, 10, ALL),
            (Some("lines=0-1"), None, 10, ALL),
            (Some("bytes=5-4"), None, 10, ALL),
            (Some("bytes=15-14"), None, 10, ALL),
            (Some("bytes=-0"), None, 10, Err(())),
            (Some("bytes=-100"), None, 10, Ok(Some((0, 10)))),
            (Some("bytes=99999999999999999999999-"), None, 10, ALL),
            (Some("nonsense"), None, 10, ALL),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::RANGE, range), (header::IF_RANGE, condition)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            let part = Part::of(&headers, "\"tag\"", size);
            let part = part.map(|part| part.map(|part| (part.from, part.length))).map_err(drop);
            assert_eq!(part, expected, "{range:?} {condition:?}");
        }
    }
}
