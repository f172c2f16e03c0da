//! How a command fails: what, why, a hint, and an exit code that scripts can rely on.

use std::fmt;

use tombolo_api::{Code, Problem};

/// The exit codes, as documented in `docs/guide/commands.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// A job or check failed.
    Failed = 1,
    /// Wrong usage, or a file that is not valid.
    Usage = 2,
    /// Not authenticated or not allowed.
    Unauthorized = 4,
    /// The master cannot be reached.
    Unreachable = 5,
    /// Ended by Ctrl-C.
    Cancelled = 130,
}

/// An error as the user sees it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For scripts.
    pub(crate) code: ExitCode,
    /// What went wrong and why. Empty if everything has been said already.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure with a code and a message.
    pub(crate) fn new(code: ExitCode, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            hint: None,
        }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(ExitCode::Usage, message)
    }

    /// A failure of which everything has been said.
    pub(crate) const fn silent(code: ExitCode) -> Self {
        Self {
            code,
            message: String::new(),
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let code = match problem.code {
            Code::Unauthenticated | Code::Forbidden => ExitCode::Unauthorized,
            Code::InvalidRequest | Code::InvalidJobFile | Code::TooLarge => ExitCode::Usage,
            Code::Unavailable | Code::Overloaded => ExitCode::Unreachable,
            _ => ExitCode::Failed,
        };
        let mut message = problem.detail;
        for fault in problem.faults {
            let place = [fault.line, fault.column]
                .into_iter()
                .flatten()
                .map(|number| format!("{number}:"));
            let path = if fault.path.is_empty() {
                String::new()
            } else {
                format!(" {}:", fault.path)
            };
            message.push_str(&format!("\n  {}{path} {}", place.collect::<String>(), fault.message));
            if let Some(hint) = fault.hint {
                message.push_str(&format!("\n      hint: {hint}"));
            }
        }
        Self::new(code, message).hint(problem.hint)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(ExitCode::Failed, format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(ExitCode::Failed, error)
    }
}
