//! Errors: `application/problem+json` (RFC 9457) with a code for programs and a hint for people.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What every error answer carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// A name for the kind of problem: `urn:tombolo:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words; the same for every problem of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The kind, for programs.
    pub code: Code,
    /// What went wrong this time, where and why.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
    /// All faults of a job file, if that is the problem.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

impl Problem {
    /// A problem of this kind, with the kind's own hint.
    pub fn new(code: Code, detail: impl fmt::Display) -> Self {
        Self {
            kind: format!("urn:tombolo:problem:{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: detail.to_string(),
            hint: code.hint().to_owned(),
            faults: Vec::new(),
        }
    }

    /// The same with a hint that fits better than the kind's own.
    #[must_use]
    pub fn with_hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = hint.to_string();
        self
    }

    /// The same with the faults of a job file.
    #[must_use]
    pub fn with_faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }
}

/// One fault of a job file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// The file, if it is not the job file itself but that of a workflow: its path from the top of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The place in the document, such as `jobs[2].depends_on[0]`; empty for the whole.
    pub path: String,
    /// The line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column in the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal, $hint:literal;)*) => {
        /// The kinds of problems.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// A kind that this client does not know: the server is newer.
            #[serde(other)]
            Unknown,
        }

        impl Code {
            /// All kinds that a server sends.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The HTTP status that it comes with.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                    Self::Unknown => 500,
                }
            }

            /// The kind in words.
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                    Self::Unknown => "Unknown problem",
                }
            }

            /// What to do about it, as far as the kind alone tells.
            pub const fn hint(self) -> &'static str {
                match self {
                    $(Self::$name => $hint,)*
                    Self::Unknown => "use a client of the server's version",
                }
            }
        }
    };
}

codes! {
    /// No token, or one that is not valid.
    Unauthenticated = "unauthenticated", 401, "Not authenticated",
        "log in with a valid token: `tombolo login`";
    /// The token does not allow this.
    Forbidden = "forbidden", 403, "Not allowed",
        "ask an admin for a token with the role that is needed";
    /// What the request names does not exist, or the token may not know that it does.
    NotFound = "not_found", 404, "Not found",
        "check the name, and that your token reaches the project";
    /// The path exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed",
        "see /api/v1/openapi.json for the methods of this path";
    /// The request cannot be understood.
    InvalidRequest = "invalid_request", 400, "Invalid request",
        "see /api/v1/openapi.json for what this path takes";
    /// The body has another media type.
    UnsupportedMediaType = "unsupported_media_type", 415, "Unsupported media type",
        "send JSON with `content-type: application/json`";
    /// The job file has faults.
    InvalidJobFile = "invalid_job_file", 422, "Invalid job file",
        "correct the faults; `tombolo validate FILE` finds them without submitting";
    /// No cluster can do what a job asks for.
    Unsupported = "unsupported", 422, "Not supported by any cluster here",
        "take it out of the job file, or connect a cluster that has it: `tombolo cluster show` says what one can do";
    /// A job refers to secrets that its project does not have.
    MissingSecret = "missing_secret", 422, "Missing secret",
        "an admin of the project sets it by `tombolo secret set NAME`; `tombolo secret list` lists those that there are";
    /// The bytes of a chunk or manifest are not what their digest says, or are damaged.
    InvalidContent = "invalid_content", 422, "Invalid content",
        "the content was damaged on its way or is made wrongly: send it again";
    /// A manifest or build refers to content that was not uploaded.
    MissingContent = "missing_content", 409, "Missing content",
        "upload what is missing first: `tombolo push` does";
    /// What the request would make exists.
    Exists = "exists", 409, "Exists already",
        "choose another name";
    /// The present state does not allow it.
    Conflict = "conflict", 409, "Conflict with the present state",
        "look at the present state and try again";
    /// A limit on how much there may be would be passed.
    LimitReached = "limit_reached", 409, "Limit reached",
        "remove something first, or ask an admin to raise the limit";
    /// The request is larger than it may be.
    TooLarge = "too_large", 413, "Too large",
        "send less at once";
    /// The file has none of the bytes that are asked for.
    RangeNotSatisfiable = "range_not_satisfiable", 416, "Range not satisfiable",
        "ask for bytes that the file has, or for all of it";
    /// The request took too long to arrive.
    RequestTimeout = "request_timeout", 408, "The request took too long",
        "try again over a better connection";
    /// The server has as much to do as it can take.
    Overloaded = "overloaded", 503, "Overloaded",
        "try again after the time that `retry-after` says";
    /// The server cannot do it at the moment.
    Unavailable = "unavailable", 503, "Not available at the moment",
        "try again after the time that `retry-after` says";
    /// The job has no output.
    NoOutput = "no_output", 404, "No output",
        "a job has an output when it has ended and left something in its output folder";
    /// The job had an output, which is not kept any more.
    OutputReleased = "output_released", 410, "Output removed by retention",
        "running the build again makes the output again; `tombolo project show` says how long outputs are kept";
    /// The job had an output, which was lost.
    OutputLost = "output_lost", 410, "Output lost",
        "running the build again makes the output again; `tombolo explain` says what happened";
    /// The job had an output, which was lost and is made again.
    OutputRecovering = "output_recovering", 409, "Output is made again",
        "try again when the job's recovery is over: `tombolo jobs` shows it";
    /// The cluster that holds the output cannot be reached, or does not have it any more.
    OutputUnavailable = "output_unavailable", 502, "Output not available",
        "look at the cluster with `tombolo cluster show`; running the build again makes the output again";
    /// A defect of the server.
    Internal = "internal", 500, "Internal error",
        "this is a defect: the server's log says more; please report it";
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_title_a_hint_and_an_error_status() {
        for code in Code::ALL {
            assert!(!code.title().is_empty(), "{code}");
            assert!(code.hint().len() > 10, "{code}");
            assert!((400..600).contains(&code.status()), "{code}");
            assert_eq!(serde_json::to_value(code).expect("a text"), code.as_str());
        }
    }

    #[test]
    fn a_code_of_a_newer_server_is_unknown() {
        let code: Code = serde_json::from_str("\"from_the_future\"").expect("any text");
        assert_eq!(code, Code::Unknown);
    }
}
