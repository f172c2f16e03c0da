//! Every error of the REST API, as a problem document.

use std::fmt;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use tombolo_api::problem::{self, Code, Problem};
use tombolo_core::control::Refusal;

use crate::driver::ApplyError;

/// When to come back after the server had too much to do: its queues empty within a second or two.
const RETRY_OVERLOADED: Duration = Duration::from_secs(2);
/// When to come back after something that the server needs was away: about as long as a database takes to start.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(Box<Problem>);

impl Error {
    /// A problem of this kind.
    pub fn new(code: Code, detail: impl fmt::Display) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// Something that does not exist.
    pub fn not_found(kind: &str, name: impl fmt::Display) -> Self {
        Self::new(Code::NotFound, format_args!("{kind} `{name}` does not exist"))
    }

    /// A defect of the server. What it is goes into the log and not to the client.
    pub fn internal(what: &'static str, error: impl fmt::Display) -> Self {
        tracing::error!(%error, what, "internal error");
        Self::new(Code::Internal, "the server failed to do this")
    }

    /// The same with a better hint.
    #[must_use]
    pub fn with_hint(self, hint: impl fmt::Display) -> Self {
        Self(Box::new(self.0.with_hint(hint)))
    }

    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::NotFound { .. } => Code::NotFound,
            Refusal::Exists { .. } => Code::Exists,
            Refusal::NoJobs => {
                let error = Self::new(Code::Conflict, refusal);
                return error.with_hint("put a job into the list `jobs` of its file");
            }
            Refusal::Limit(_) => Code::LimitReached,
            Refusal::TooLarge(_) => {
                let error = Self::new(Code::TooLarge, refusal);
                return error.with_hint("submit several smaller builds, or ask an operator to raise the limit");
            }
            Refusal::Unsupported(_) => Code::Unsupported,
            Refusal::MissingSecrets(_) => Code::MissingSecret,
            Refusal::InvalidInvite => Code::Forbidden,
            _ => Code::Conflict,
        };
        Self::new(code, refusal)
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Refused(refusal) => refusal.into(),
            ApplyError::Overloaded => Self::new(Code::Overloaded, error),
            error => Self::new(Code::Unavailable, error),
        }
    }
}

impl From<tombolo_store::Error> for Error {
    fn from(error: tombolo_store::Error) -> Self {
        match error {
            tombolo_store::Error::Corrupt(_) => Self::internal("reading the database", error),
            error => {
                tracing::warn!(%error, "the database was not read");
                Self::new(Code::Unavailable, "the master cannot use its database at the moment")
            }
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = match self.0.code {
            Code::Overloaded => Some(RETRY_OVERLOADED),
            Code::Unavailable => Some(RETRY_UNAVAILABLE),
            _ => None,
        };
        let body = serde_json::to_vec(&self.0).expect("a problem is always JSON");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
        if let Some(retry) = retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry.as_secs()));
        }
        if self.0.code == Code::Unauthenticated {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"tombolo\""),
            );
        }
        response
    }
}

/// What every route may answer besides its own answer, for the OpenAPI document.
pub(crate) struct Problems;

impl utoipa::IntoResponses for Problems {
    fn responses() -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::Response>> {
        let content = utoipa::openapi::ContentBuilder::new()
            .schema(Some(utoipa::openapi::Ref::from_schema_name("Problem")))
            .build();
        let response = utoipa::openapi::ResponseBuilder::new()
            .description("What went wrong, and what to do about it.")
            .content(problem::MEDIA_TYPE, content)
            .build();
        [("default".to_owned(), response.into())].into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_a_problem_document_and_says_when_to_come_back() {
        for code in Code::ALL {
            let response = Error::new(*code, "it is so").into_response();
            assert_eq!(response.status().as_u16(), code.status());
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_TYPE], problem::MEDIA_TYPE);
            assert_eq!(
                headers.contains_key(header::RETRY_AFTER),
                code.status() == 503,
                "{code}"
            );
            assert_eq!(
                headers.contains_key(header::WWW_AUTHENTICATE),
                code.status() == 401,
                "{code}"
            );
        }
    }

    #[test]
    fn what_failed_inside_is_not_told() {
        let error = Error::from(tombolo_store::Error::Corrupt("row 7 of /secret/path".to_owned()));
        assert_eq!(error.problem().code, Code::Internal);
        assert!(!error.problem().detail.contains("secret"));
    }
}
