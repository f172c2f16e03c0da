//! What SQLite's errors mean to callers.

use rusqlite::{Error as Failure, ErrorCode};

use crate::port::{CommitError, Error};

/// Of a statement that reads, or of a log that was not written.
pub(super) fn read(failure: Failure) -> Error {
    let text = failure.to_string();
    match failure {
        Failure::FromSqlConversionFailure(..)
        | Failure::IntegralValueOutOfRange(..)
        | Failure::Utf8Error(..)
        | Failure::InvalidColumnType(..) => Error::Corrupt(text),
        failure => match failure.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt(text),
            _ => Error::Unavailable(text),
        },
    }
}

/// Of a statement within a transaction, which is then rolled back.
pub(super) fn statement(failure: Failure) -> CommitError {
    let text = failure.to_string();
    match failure {
        Failure::SqliteFailure(..) => match failure.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                CommitError::Rejected(text)
            }
            _ => CommitError::Unavailable(text),
        },
        // What could not even be handed to SQLite will not be taken another time.
        _ => CommitError::Rejected(text),
    }
}

/// Of `COMMIT` itself.
pub(super) fn commit(failure: Failure) -> CommitError {
    let text = failure.to_string();
    match failure.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => CommitError::Rejected(text),
        // Refused before anything was written.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => {
            CommitError::Unavailable(text)
        }
        _ => CommitError::Unknown(text),
    }
}
