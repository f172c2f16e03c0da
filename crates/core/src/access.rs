//! Users' rights.

use serde::{Deserialize, Serialize};

use crate::id::ProjectId;

/// What a user may do in a project (or, for a token without a project, in all of them). Each role has the rights of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees builds, jobs, logs and outputs.
    Viewer,
    /// Also submits and cancels builds.
    Developer,
    /// Also manages projects, tokens and clusters, as far as the token reaches.
    Admin,
}

impl Role {
    /// The name in the API and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }
}

/// A role and how far it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    /// What.
    pub role: Role,
    /// Where; everywhere if none.
    pub project: Option<ProjectId>,
}

impl Right {
    /// Whether it includes `role` in `project` (`None`: what belongs to no project, such as clusters).
    pub fn permits(&self, role: Role, project: Option<ProjectId>) -> bool {
        self.role >= role && (self.project.is_none() || self.project == project)
    }
}
