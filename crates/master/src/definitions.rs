//! Reads job files, with the workflows that they name from the source of their build.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tombolo_artifact::{EntryKind, Manifest};
use tombolo_core::attempt::{GeneratedFile, WorkflowFile};
use tombolo_core::build::BuildDefinition;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_jobfile::{Faults, Files, MAX_FILE_BYTES};
use tombolo_transfer::store;

use crate::sources::Sources;

/// How many job files are read at once: each may hold a manifest and a chunk of the source in memory.
const AT_ONCE: usize = 4;

/// How long a file of the source may take to be read.
const FILE_DEADLINE: Duration = Duration::from_secs(10);

/// Why it cannot be said whether a job file is valid. It can be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the source of the build cannot be read at the moment: {0}")]
pub struct Unreadable(String);

/// Reads job files. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Definitions {
    sources: Sources,
    turns: Arc<Semaphore>,
}

impl Definitions {
    /// Workflows are taken from `sources`.
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// What a job file says that came with the files of its workflows; or what is wrong with it.
    pub(crate) async fn read_with(
        &self,
        file: GeneratedFile,
        text: String,
    ) -> Result<Result<BuildDefinition, Faults>, Unreadable> {
        let failed = |error: &dyn std::fmt::Display| Unreadable(error.to_string());
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(|error| failed(&error))?;
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut files = TakenAlong(file.workflows);
            tombolo_jobfile::parse_with(&file.name, text.as_bytes(), &mut files)
        });
        reading.await.map_err(|error| failed(&error))
    }

    /// What a job file says, with the workflows that it names in the build's source; or what is wrong with it.
    ///
    /// # Errors
    /// If the source cannot be read now.
    pub async fn read(
        &self,
        project: ProjectId,
        source: Option<Digest>,
        name: String,
        bytes: Vec<u8>,
    ) -> Result<Result<BuildDefinition, Faults>, Unreadable> {
        let failed = |error: &dyn std::fmt::Display| Unreadable(error.to_string());
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| failed(&error))?;
        let files = source.map(|manifest| SourceFiles {
            sources: self.sources.clone(),
            runtime: tokio::runtime::Handle::current(),
            project,
            source: manifest,
            manifest: None,
            failure: None,
        });
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let Some(mut files) = files else {
                return Ok(tombolo_jobfile::parse(&name, &bytes));
            };
            let read = tombolo_jobfile::parse_with(&name, &bytes, &mut files);
            match files.failure {
                None => Ok(read),
                Some(failure) => Err(failure),
            }
        });
        reading.await.map_err(|error| failed(&error))?
    }
}

/// The files that came with a job file.
struct TakenAlong(Vec<WorkflowFile>);

impl Files for TakenAlong {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        let file = self.0.iter().find(|file| file.path == path);
        let text = file.map(|file| file.text.clone());
        let text = text.unwrap_or_else(|| Err("the repository has no such file".to_owned()));
        text.map(String::into_bytes)
    }
}

/// The files of a build's source, of which only those are read that are asked for.
struct SourceFiles {
    sources: Sources,
    runtime: tokio::runtime::Handle,
    project: ProjectId,
    source: Digest,
    manifest: Option<Manifest>,
    /// Why the source could not be read.
    failure: Option<Unreadable>,
}

impl Files for SourceFiles {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if let Some(failure) = &self.failure {
            return Err(failure.to_string());
        }
        let runtime = self.runtime.clone();
        let read = runtime.block_on(tokio::time::timeout(FILE_DEADLINE, self.fetch(path)));
        let failure = match read {
            Ok(Ok(content)) => return content,
            // Nobody makes the source whole again: whoever waits for it would wait for ever.
            Ok(Err(error @ (store::Error::Missing { .. } | store::Error::Damaged { .. }))) => {
                tracing::error!(%error, "the source of a build is not whole");
                return Err("the build's source is not whole any more: submit the build again".to_owned());
            }
            Ok(Err(error)) => Unreadable(error.to_string()),
            Err(_) => Unreadable(format!("`{path}` did not come within {} s", FILE_DEADLINE.as_secs())),
        };
        let words = failure.to_string();
        self.failure = Some(failure);
        Err(words)
    }
}

impl SourceFiles {
    /// The content of a file, or why there is none; an error if the store fails.
    async fn fetch(&mut self, path: &str) -> Result<Result<Vec<u8>, String>, store::Error> {
        let store = self.sources.store();
        let manifest = match &mut self.manifest {
            Some(manifest) => manifest,
            empty => empty.insert(store.get_manifest(self.project, self.source).await?),
        };
        let Some(entry) = manifest.entry(path.as_bytes()) else {
            return Ok(Err("the source has no such file".to_owned()));
        };
        let EntryKind::File { size, .. } = entry.kind else {
            let what = match entry.kind {
                EntryKind::Symlink { .. } => "a symbolic link, which is not followed here",
                _ => "a folder",
            };
            return Ok(Err(format!("it is {what}")));
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > MAX_FILE_BYTES {
            return Ok(Err(format!("it is larger than {} MiB", MAX_FILE_BYTES / (1024 * 1024))));
        }
        let Some(range) = manifest.range(path.as_bytes()) else {
            return Ok(Ok(Vec::new()));
        };
        let mut content = Vec::with_capacity(size);
        let mut skip = range.skip as usize;
        for reference in manifest.chunks().skip(range.first_chunk).take(range.chunk_count) {
            let chunk = store.get_chunk(self.project, reference).await?;
            let bytes = chunk.bytes();
            let from = skip.min(bytes.len());
            let to = bytes.len().min(from + (size - content.len()));
            content.extend_from_slice(&bytes[from..to]);
            skip = 0;
        }
        Ok(Ok(content))
    }
}
