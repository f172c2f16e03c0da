//! What requests bring, checked: every fault is a problem document that says what and where.

use std::time::Duration;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::header;
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tombolo_api::limit;
use tombolo_api::problem::Code;

use super::Error;

/// How long the body of a small request may take to arrive.
const JSON_DEADLINE: Duration = Duration::from_secs(30);

/// The parameters of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(rejection) => Err(Error::new(
                Code::InvalidRequest,
                format_args!("path: {}", words_of_path(&rejection)),
            )),
        }
    }
}

/// The query. Parameters that the route does not know are refused by the type.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(query) => Ok(Self(query.0)),
            Err(rejection) => Err(Error::new(
                Code::InvalidRequest,
                format_args!("query: {}", words_of_query(&rejection.body_text())),
            )),
        }
    }
}

/// What is wrong with a path, without the names of types.
fn words_of_path(rejection: &PathRejection) -> String {
    let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
        return rejection.body_text();
    };
    match failed.kind() {
        // Only numbers are parsed: names are texts that are checked.
        ErrorKind::ParseErrorAtKey { key, value, .. } => {
            format!(
                "`{key}` is `{}`, and must be a whole number from 0 on",
                value.escape_default()
            )
        }
        ErrorKind::DeserializeError { key, message, .. } => format!("`{key}`: {message}"),
        other => other.to_string(),
    }
}

/// The same of a query, of which there is only the text.
fn words_of_query(text: &str) -> String {
    let text = text
        .strip_prefix("Failed to deserialize query string: ")
        .unwrap_or(text);
    text.replace("invalid digit found in string", "it must be a whole number from 0 on")
}

/// A JSON body of at most [`limit::JSON_BODY_BYTES`].
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let media_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media_type = media_type
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            let detail = format!("the body has the media type `{media_type}`, not `application/json`");
            return Err(Error::new(Code::UnsupportedMediaType, detail));
        }
        let bytes = read_body(request, limit::JSON_BODY_BYTES, JSON_DEADLINE).await?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|error| Error::new(Code::InvalidRequest, format_args!("body: {error}")))?;
        refuse_nul(&bytes)?;
        Ok(Self(value))
    }
}

/// Reads a body of at most `limit` bytes within `deadline`.
pub(crate) async fn read_body(request: Request, limit: usize, deadline: Duration) -> Result<Bytes, Error> {
    let too_large = || Error::new(Code::TooLarge, format_args!("the body is larger than {limit} bytes"));
    if declared_length(&request).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let collecting = Limited::new(request.into_body(), limit).collect();
    let collected = tokio::time::timeout(deadline, collecting).await.map_err(|_| {
        let seconds = deadline.as_secs();
        Error::new(
            Code::RequestTimeout,
            format_args!("the body did not arrive within {seconds} s"),
        )
    })?;
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Error::new(
            Code::InvalidRequest,
            format_args!("the body broke off: {error}"),
        )),
    }
}

/// The length that the request says its body has.
pub(crate) fn declared_length(request: &Request) -> Option<u64> {
    request
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Refuses JSON with a NUL character in any of its texts or keys: no database takes one.
fn refuse_nul(json: &[u8]) -> Result<(), Error> {
    if !json.windows(6).any(|window| window == b"\\u0000") {
        return Ok(());
    }
    // The six characters may also be an escaped backslash and harmless digits: only the parsed text tells.
    let value: serde_json::Value = serde_json::from_slice(json)
        .map_err(|error| Error::new(Code::InvalidRequest, format_args!("body: {error}")))?;
    match nul_place(&value, String::new()) {
        Some(place) => Err(Error::new(
            Code::InvalidRequest,
            format_args!("body: the text at `{place}` contains a NUL character"),
        )),
        None => Ok(()),
    }
}

/// Where a text with a NUL is. The depth is bounded by the parser's own.
fn nul_place(value: &serde_json::Value, place: String) -> Option<String> {
    match value {
        serde_json::Value::String(text) => text.contains('\0').then_some(place),
        serde_json::Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| nul_place(item, format!("{place}[{index}]"))),
        serde_json::Value::Object(fields) => fields.iter().find_map(|(key, item)| {
            if key.contains('\0') {
                return Some(format!("{place}.{}", key.escape_default()));
            }
            nul_place(
                item,
                if place.is_empty() {
                    key.clone()
                } else {
                    format!("{place}.{key}")
                },
            )
        }),
        _ => None,
    }
}

/// Checks a text that people wrote into a request: not empty, not longer than [`limit::TEXT_BYTES`], no control characters.
pub(crate) fn check_text(field: &str, text: &str) -> Result<(), Error> {
    let fault = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > limit::TEXT_BYTES {
        format!("has {} bytes; at most {} are allowed", text.len(), limit::TEXT_BYTES)
    } else if text.chars().any(char::is_control) {
        "contains a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::new(
        Code::InvalidRequest,
        format_args!("body: `{field}` {fault}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_found_where_it_is() {
        for (json, place) in [
            (r#"{"a":"x\u0000"}"#, Some("`a`")),
            (r#"{"a":[{"b":"\u0000"}]}"#, Some("`a[0].b`")),
            (r#"{"a\u0000":1}"#, Some("`.a\\u{0}`")),
            (r#"{"a":"\\u0000"}"#, None),
            (r#"{"a":"u0000"}"#, None),
        ] {
            match (refuse_nul(json.as_bytes()), place) {
                (Ok(()), None) => {}
                (Err(error), Some(place)) => {
                    assert!(
                        error.problem().detail.contains(place),
                        "{json}: {}",
                        error.problem().detail
                    );
                }
                (result, _) => panic!("{json}: {result:?}"),
            }
        }
    }

    #[test]
    fn texts() {
        for (text, good) in [
            ("release 1.2/é", true),
            ("", false),
            ("a\nb", false),
            ("\u{1b}[31m", false),
            (&"x".repeat(256), true),
            (&"x".repeat(257), false),
        ] {
            assert_eq!(check_text("name", text).is_ok(), good, "{text:?}");
        }
    }
}
