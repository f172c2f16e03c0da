//! Parts of downloads.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_range_header::{EndPosition, StartPosition};
use tombolo_api::problem::Code;

use super::Error;

/// Says in an answer that parts can be had, and which one it is.
pub(super) fn tell(response: &mut Response, part: Option<Part>, tag: &str, size: u64) {
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    if let Some(Part { from, length }) = part {
        insert_content_range(headers, &format!("bytes {from}-{}/{size}", from + length - 1));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
}

fn insert_content_range(headers: &mut HeaderMap, range: &str) {
    if let Ok(range) = HeaderValue::from_str(range) {
        headers.insert(header::CONTENT_RANGE, range);
    }
}

/// The answer if nothing of what was asked for is there.
pub(super) fn unsatisfiable(error: Error, size: u64) -> Response {
    let mut response = error.into_response();
    insert_content_range(response.headers_mut(), &format!("bytes */{size}"));
    response
}

/// A part of a download that was asked for; not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) from: u64,
    pub(super) length: u64,
}

impl Part {
    /// None if all is to be sent: nothing else was asked for, or what was asked for is of another output, or of a kind
    /// that a server may leave aside (RFC 9110: several ranges, other units, what it does not understand).
    pub(super) fn of(headers: &HeaderMap, tag: &str, size: u64) -> Result<Option<Self>, Error> {
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
                format_args!("there are {size} bytes, and `{range}` asks for none of them"),
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
