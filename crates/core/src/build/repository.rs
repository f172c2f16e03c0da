//! Repositories that jobs clone.

use serde::{Deserialize, Serialize};

/// What a job of the type `git` clones. The clone is its output, and the source of the jobs that it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Where it is: an address of `http` or `https`, without a password.
    pub url: String,
    /// Which commit: its whole id, or the name of a branch or tag.
    pub commit: String,
    /// A branch that there must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The job file in it, from its top; the first of the usual names if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Who asks for it, if the server wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

impl Repository {
    /// The variable with the password, which is a secret of the project. Jobs that the clone makes do not get it.
    pub const PASSWORD: &'static str = "TOMBOLO_GIT_PASSWORD";
}
