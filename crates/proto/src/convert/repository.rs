//! Repositories that jobs clone.

use tombolo_core::build::repository::Repository;

use super::{Error, text};
use crate::agent::v1 as wire;

impl From<Repository> for wire::Repository {
    fn from(repository: Repository) -> Self {
        Self {
            url: repository.url,
            commit: repository.commit,
            branch: repository.branch,
            file: repository.file,
            username: repository.username,
        }
    }
}

impl TryFrom<wire::Repository> for Repository {
    type Error = Error;

    fn try_from(repository: wire::Repository) -> Result<Self, Error> {
        let optional = |value: Option<String>, field| value.map(|value| text(value, field)).transpose();
        Ok(Self {
            url: text(repository.url, "Repository.url")?,
            commit: text(repository.commit, "Repository.commit")?,
            branch: optional(repository.branch, "Repository.branch")?,
            file: optional(repository.file, "Repository.file")?,
            username: optional(repository.username, "Repository.username")?,
        })
    }
}
