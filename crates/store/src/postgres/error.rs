//! What the server's errors mean to callers.

use std::error::Error as _;

use tokio_postgres::Error as Failure;
use tokio_postgres::error::SqlState;

use crate::port::{CommitError, Error};

/// What went wrong, on one line, with all of its causes.
pub(super) fn text(failure: &Failure) -> String {
    if let Some(error) = failure.as_db_error() {
        let mut text = format!("{} (SQLSTATE {})", error.message(), error.code().code());
        for (name, more) in [("detail", error.detail()), ("hint", error.hint())] {
            if let Some(more) = more {
                text.push_str(&format!("; {name}: {more}"));
            }
        }
        return text.replace('\n', " ");
    }
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors say what their causes say.
        if !text.ends_with(&more) {
            text.push_str(&format!(": {more}"));
        }
        cause = error.source();
    }
    text
}

/// Of a statement that reads, or of a log that was not written.
pub(super) fn read(failure: Failure) -> Error {
    match failure.code().map(class) {
        // Index or page damaged.
        Some("XX") if failure.code() != Some(&SqlState::INTERNAL_ERROR) => Error::Corrupt(text(&failure)),
        _ => Error::Unavailable(text(&failure)),
    }
}

/// Of a statement within a transaction, which was not asked to commit yet: nothing was written.
pub(super) fn statement(failure: Failure) -> CommitError {
    match failure.code().map(class) {
        // What is in the change set cannot be: a constraint, a value out of range, more than the server can take.
        Some("22" | "23" | "54") => CommitError::Rejected(text(&failure)),
        // Everything else is about the server or the way to it, and may pass: also deadlocks.
        _ => CommitError::Unavailable(text(&failure)),
    }
}

/// Of `COMMIT` itself.
pub(super) fn commit(failure: Failure) -> CommitError {
    let code = failure.code();
    match code.map(class) {
        Some("23") => CommitError::Rejected(text(&failure)),
        // Rolled back, as the server says.
        Some("40") if code != Some(&SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN) => {
            CommitError::Unavailable(text(&failure))
        }
        // A server that is shut down says so also when the commit is on its disk already and only a standby is waited for.
        _ => CommitError::Unknown(text(&failure)),
    }
}

/// The first two characters of a code: what kind of error it is.
fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}
