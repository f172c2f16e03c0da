//! The names of objects.

use object_store::path::Path;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use super::Inner;

/// Where a chunk is, or where it would be written.
pub(super) enum Place {
    /// Its generation.
    Present(u32),
    Absent(u32),
}

impl Inner {
    pub(super) fn projects_path(&self) -> Path {
        self.prefix.clone().join("projects")
    }

    pub(super) fn project_path(&self, project: ProjectId) -> Path {
        self.projects_path().join(project.to_string())
    }

    pub(super) fn chunk_path(&self, project: ProjectId, digest: Digest, generation: u32) -> Path {
        let digest = digest.to_string();
        self.project_path(project)
            .join("chunks")
            .join(&digest[..2])
            .join(format!("{digest}.{generation}"))
    }

    pub(super) fn damage_path(&self, project: ProjectId, digest: Digest, generation: u32) -> Path {
        let digest = digest.to_string();
        self.project_path(project)
            .join("chunks")
            .join(&digest[..2])
            .join(format!("{digest}.{generation}.damaged"))
    }

    pub(super) fn manifest_path(&self, project: ProjectId, digest: Digest) -> Path {
        self.project_path(project).join("manifests").join(digest.to_string())
    }

    /// The mark of a manifest that is condemned.
    pub(super) fn manifest_mark_path(&self, project: ProjectId, digest: Digest) -> Path {
        self.project_path(project)
            .join("manifests")
            .join(format!("{digest}.condemned"))
    }

    /// An upload that is under way.
    pub(super) fn upload_path(&self, project: ProjectId, name: &str) -> Path {
        self.project_path(project).join("uploads").join(name)
    }

    /// How far the sweep of a project is.
    pub(super) fn round_path(&self, project: ProjectId) -> Path {
        self.project_path(project).join("round")
    }

    /// The folder of one trial of signed requests.
    pub(super) fn trial_path(&self, name: &str) -> Path {
        self.prefix.clone().join("trials").join(name)
    }
}
