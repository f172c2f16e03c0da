//! How a command fails: what, why, a hint, and an exit code that scripts can rely on.

use std::fmt;

use serde::Serialize;
use tombolo_api::{Code, Problem};

/// The exit codes, as documented in `docs/guide/commands.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// A job or check failed.
    Failed = 1,
    /// Wrong usage, or a file that is not valid.
    Usage = 2,
    /// No cluster can do what is asked for.
    Unschedulable = 3,
    /// Not authenticated or not allowed.
    Unauthorized = 4,
    /// The master cannot be reached.
    Unreachable = 5,
    /// Ended by Ctrl-C.
    Cancelled = 130,
}

impl ExitCode {
    /// A name and a title, as problems of the master have them.
    const fn described(self) -> (&'static str, &'static str) {
        match self {
            Self::Failed => ("failed", "Failed"),
            Self::Usage => ("usage", "Wrong usage"),
            Self::Unschedulable => ("unschedulable", "No cluster can do it"),
            Self::Unauthorized => ("unauthorized", "Not authenticated or not allowed"),
            Self::Unreachable => ("unreachable", "The master cannot be reached"),
            Self::Cancelled => ("cancelled", "Ended by Ctrl-C"),
        }
    }
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
    /// What the master said, if it was the master.
    problem: Option<Box<Problem>>,
    /// The master was reached, and its answer broke off.
    is_broken_off: bool,
}

/// A failure that the master knows nothing of, in the form of its problems.
#[derive(Serialize)]
struct OwnProblem<'a> {
    code: &'static str,
    title: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl Failure {
    /// A failure with a code and a message.
    pub(crate) fn new(code: ExitCode, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            hint: None,
            problem: None,
            is_broken_off: false,
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
            problem: None,
            is_broken_off: false,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// The same, of an answer that broke off, or not.
    #[must_use]
    pub(crate) const fn broken_off(mut self, is_broken_off: bool) -> Self {
        self.is_broken_off = is_broken_off;
        self
    }

    /// Whether the master was reached, and its answer broke off.
    pub(crate) const fn is_broken_off(&self) -> bool {
        self.is_broken_off
    }

    /// Whether it may be gone a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        let is_away = |problem: &Problem| problem.code == Code::OutputUnavailable;
        self.code == ExitCode::Unreachable || self.problem.as_deref().is_some_and(is_away)
    }

    /// The failure for programs: the master's own problem document, or one with the same fields.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        if let Some(problem) = &self.problem {
            return serde_json::to_string_pretty(problem);
        }
        let (code, title) = self.code.described();
        serde_json::to_string_pretty(&OwnProblem {
            code,
            title,
            detail: &self.message,
            hint: self.hint.as_deref(),
        })
    }
}

/// Says in how many seconds to try again, where the kind's own hint names the header of an answer, which nobody sees at the command line.
pub(crate) fn with_time_to_retry(problem: Problem, seconds: Option<u64>) -> Problem {
    let is_own = problem.hint == problem.code.hint();
    match (problem.code, seconds) {
        (Code::Overloaded | Code::Unavailable, Some(1)) if is_own => problem.with_hint("try again in a second"),
        (Code::Overloaded | Code::Unavailable, Some(seconds)) if is_own => {
            problem.with_hint(format_args!("try again in {seconds} seconds"))
        }
        _ => problem,
    }
}

/// What to do about a problem whose kind alone says nothing to somebody at the command line: these hints are made for programs.
fn own_hint(problem: &mut Problem) {
    if problem.hint != problem.code.hint() {
        return;
    }
    problem.hint = match problem.code {
        Code::InvalidRequest | Code::MethodNotAllowed | Code::UnsupportedMediaType => {
            "`--help` after the command says what it takes".to_owned()
        }
        Code::Overloaded | Code::Unavailable => "try again in a moment".to_owned(),
        Code::Conflict => "`tombolo jobs`, `tombolo builds` and `tombolo cluster list` show how things are".to_owned(),
        _ => return,
    };
}

impl From<Problem> for Failure {
    fn from(mut problem: Problem) -> Self {
        own_hint(&mut problem);
        let code = match problem.code {
            Code::Unauthenticated | Code::Forbidden => ExitCode::Unauthorized,
            Code::InvalidRequest | Code::InvalidJobFile | Code::MissingSecret | Code::TooLarge => ExitCode::Usage,
            Code::Unsupported => ExitCode::Unschedulable,
            Code::Unavailable | Code::Overloaded => ExitCode::Unreachable,
            _ => ExitCode::Failed,
        };
        let mut message = problem.detail.clone();
        for fault in &problem.faults {
            let file = fault.file.as_ref().map(|file| format!("{file}:")).unwrap_or_default();
            let place = [fault.line, fault.column]
                .into_iter()
                .flatten()
                .map(|number| format!("{number}:"));
            let path = if fault.path.is_empty() {
                String::new()
            } else {
                format!(" {}:", fault.path)
            };
            message.push_str(&format!(
                "\n  {file}{}{path} {}",
                place.collect::<String>(),
                fault.message
            ));
            if let Some(hint) = &fault.hint {
                message.push_str(&format!("\n      hint: {hint}"));
            }
        }
        Self {
            problem: Some(Box::new(problem.clone())),
            ..Self::new(code, message).hint(problem.hint)
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(ExitCode::Failed, tombolo_runtime::reason::whole(&error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(ExitCode::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn hints_for_programs_are_not_shown_to_people() {
        for code in [Code::InvalidRequest, Code::Conflict, Code::MethodNotAllowed] {
            let hint = Failure::from(Problem::new(code, "no")).hint.unwrap();
            assert!(!hint.contains("openapi") && !hint.contains("try again"), "{hint}");
            let own = Failure::from(Problem::new(code, "no").with_hint("do so")).hint;
            assert_eq!(own.as_deref(), Some("do so"));
        }
    }

    #[test]
    fn who_is_to_try_again_is_told_when_and_of_no_header() {
        let hint = |problem: Problem, seconds| Failure::from(with_time_to_retry(problem, seconds)).hint.unwrap();
        for code in [Code::Unavailable, Code::Overloaded] {
            let problem = Problem::new(code, "no");
            assert_eq!(hint(problem.clone(), Some(5)), "try again in 5 seconds");
            assert_eq!(hint(problem.clone(), Some(1)), "try again in a second");
            assert_eq!(hint(problem.clone(), None), "try again in a moment");
            assert_eq!(hint(problem.with_hint("do so"), Some(5)), "do so");
        }
    }

    #[test]
    fn programs_get_the_same_fields_whoever_failed() {
        let read = |failure: Failure| -> Value { serde_json::from_str(&failure.json().unwrap()).unwrap() };
        let own = read(Failure::usage("no").hint("yes"));
        assert_eq!(
            own,
            json!({"code": "usage", "title": "Wrong usage", "detail": "no", "hint": "yes"})
        );
        let told = read(Problem::new(Code::NotFound, "no such build").into());
        for (field, value) in [
            ("code", "not_found"),
            ("title", "Not found"),
            ("detail", "no such build"),
        ] {
            assert_eq!(told[field], value);
        }
        assert!(told["hint"].is_string());
    }
}
