//! Projects.

use serde::{Deserialize, Serialize};
use tombolo_core::id::ProjectId;
use tombolo_core::name::{ClusterName, ProjectName};
use utoipa::ToSchema;

use crate::time::DateTime;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Project {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: ProjectId,
    /// Its name, unique.
    #[schema(value_type = String)]
    pub name: ProjectName,
    /// When it was made.
    pub created_at: DateTime,
    /// The number of its latest build; 0 before the first.
    pub last_build: u64,
    /// The cluster that has the project's workspace, once a job has used it.
    #[schema(value_type = Option<String>)]
    pub workspace: Option<ClusterName>,
}

/// The projects that the caller may see, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectList {
    /// The projects.
    pub projects: Vec<Project>,
}

/// Asks for a new project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProject {
    /// Its name.
    #[schema(value_type = String, max_length = 63)]
    pub name: ProjectName,
}
