//! What the attempts on the disk need.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use tombolo_core::attempt::{Assignment, Outcome};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, ProjectId};

use crate::folder::{AttemptFolder, read_record};

#[derive(Clone)]
pub(super) struct Attempts {
    folder: PathBuf,
}

impl Attempts {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Whether the attempt has a folder.
    pub(super) fn has(&self, attempt: AttemptId) -> io::Result<bool> {
        self.folder.join(attempt.to_string()).try_exists()
    }

    /// Whether the project has attempts here.
    pub(super) async fn any_of(&self, project: ProjectId) -> io::Result<bool> {
        self.read(move |assignment, _| (assignment.build.project == project).then_some(()))
            .await
            .map(|found| !found.is_empty())
    }

    /// The artifacts that attempts of the project read or leave behind.
    pub(super) async fn manifests(&self, project: ProjectId) -> io::Result<HashSet<Digest>> {
        let found = self.read(move |assignment, outcome| {
            let source = assignment.source.iter().map(|source| source.manifest);
            let start = assignment.cache.iter().filter_map(|cache| cache.start.as_ref());
            let inputs = assignment.inputs.iter().chain(start.map(|start| &start.content));
            let inputs = inputs.map(|input| input.output.manifest);
            let left = outcome
                .into_iter()
                .flat_map(|outcome| [outcome.output, outcome.cache.as_deref().copied()]);
            let left = left.flatten().map(|left| left.manifest);
            let all: Vec<Digest> = source.chain(inputs).chain(left).collect();
            (assignment.build.project == project).then_some(all)
        });
        Ok(found.await?.into_iter().flatten().collect())
    }

    /// What `look` finds in the records of each attempt. A record that cannot be read is an error: what it needs is not known.
    async fn read<T: Send + 'static>(
        &self,
        look: impl Fn(&Assignment, Option<&Outcome>) -> Option<T> + Send + 'static,
    ) -> io::Result<Vec<T>> {
        let folder = self.folder.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&folder)? {
                let folder = AttemptFolder::new(entry?.path());
                // One that is being made or removed has none.
                let assignment: Option<Assignment> = read_record(&folder.assignment())?;
                let Some(assignment) = assignment else { continue };
                let outcome: Option<Outcome> = read_record(&folder.ended())?;
                found.extend(look(&assignment, outcome.as_ref()));
            }
            Ok(found)
        });
        read.await.map_err(io::Error::other)?
    }
}
