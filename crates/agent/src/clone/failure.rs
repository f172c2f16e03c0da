//! Why a repository was not cloned, in words for whoever wrote the job file.

use std::fmt::Display;
use std::io;
use std::time::Duration;

/// How much of a server's words is shown.
const MAX_WORDS: usize = 300;

/// Why nothing was cloned.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The address is none.
    #[error("`{url}` is not the address of a repository: {reason}")]
    Address {
        /// What stands in its place.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A password would go over the network for everybody to read.
    #[error("no password is sent to `{0}` without TLS: let `clone_url` begin with `https://`")]
    Clear(String),
    /// Nobody answers there.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// Whom.
        host: String,
        /// Why not.
        reason: String,
    },
    /// Nothing more came.
    #[error("{host} has said nothing for {}: the clone is given up", humantime::format_duration(*after))]
    Silent {
        /// Who.
        host: String,
        /// For how long.
        after: Duration,
    },
    /// It wants to know who asks.
    #[error(
        "{host} asks for a user and a password: set the password as a secret, and say `credentials: {{username: NAME, password: {{$secret: NAME}}}}`"
    )]
    AsksForPassword {
        /// Who.
        host: String,
    },
    /// It does not believe who asks.
    #[error("{host} does not take the user and the password that the job gives (status {status})")]
    Denied {
        /// Who.
        host: String,
        /// How it said so.
        status: u16,
    },
    /// There is nothing.
    #[error(
        "{host} has no repository there (status {status}), or shows it only to whom it knows: see `clone_url` and `credentials`"
    )]
    NoRepository {
        /// Who.
        host: String,
        /// How it said so.
        status: u16,
    },
    /// It does not answer the question.
    #[error("{host} answered with the status {status}")]
    Status {
        /// Who.
        host: String,
        /// Which.
        status: u16,
    },
    /// It sends elsewhere.
    #[error(
        "{host} leads on to {to}, which is not followed: only to the same server, and never away from TLS; name that address in `clone_url`"
    )]
    LedOn {
        /// Who.
        host: String,
        /// Where.
        to: String,
    },
    /// It does not speak git.
    #[error("{host} does not answer as a git server does: {reason}")]
    NotGit {
        /// Who.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// It says no.
    #[error("{host} refuses: {words}")]
    Refused {
        /// Who.
        host: String,
        /// In its own words.
        words: String,
    },
    /// There is no such branch.
    #[error("the repository has no branch `{0}`")]
    NoBranch(String),
    /// There is no such name.
    #[error(
        "the repository has no branch and no tag `{0}`: a commit is named by its whole id, of 40 hexadecimal digits"
    )]
    NoName(String),
    /// There is no such commit.
    #[error("the repository has no commit {0}")]
    NoCommit(String),
    /// It is more than may be.
    #[error("the repository is too large: {0}")]
    TooLarge(String),
    /// What came is not whole, or not what it should be.
    #[error("the repository is damaged, or its server sends rubbish: {0}")]
    Damaged(String),
    /// The system does not play along.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Failure {
    pub(super) fn system(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, source }
    }

    pub(super) fn damaged(reason: impl Display) -> Self {
        Self::Damaged(words(&reason.to_string()))
    }
}

/// What somebody else says, as one line that is not too long.
pub(super) fn words(text: &str) -> String {
    let line = text.trim().chars().take(MAX_WORDS);
    line.map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}

/// Failures travel through readers as errors of them.
pub(super) fn through_reader(failure: Failure) -> io::Error {
    io::Error::other(failure)
}

/// The failure that is in an error of a reader, at whatever depth; else the error itself, as what `otherwise` makes of it.
pub(super) fn out_of<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    error: E,
    otherwise: impl FnOnce(String) -> Failure,
) -> Failure {
    let mut error: Box<dyn std::error::Error + Send + Sync> = error.into();
    loop {
        match error.downcast::<Failure>() {
            Ok(failure) => return *failure,
            Err(other) => error = other,
        }
        match error.downcast::<io::Error>() {
            Ok(inner) if inner.get_ref().is_some() => match inner.into_inner() {
                Some(inner) => error = inner,
                None => return otherwise(String::new()),
            },
            Ok(inner) => return otherwise(inner.to_string()),
            Err(other) => return otherwise(chain(&*other)),
        }
    }
}

/// An error with all that it comes from.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    words(&text)
}
