//! The agent's side of the couriers: what the pods of attempts may ask for and have to say.
//!
//! A courier shows a token that is good for its attempt alone. What it reports is written to the attempt's folder before it is
//! acknowledged, so that an agent that comes back goes on where the last one was. An attempt that is not expected here is
//! refused: its pod is stale.

mod attend;
mod caution;
mod chunks;
mod contact;
mod entering;
mod ledger;
mod log;
mod losses;
mod serve;
mod service;
mod signing;
mod token;
mod upload;
mod visit;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, ProjectId};
use tombolo_transfer::ChunkStore;
use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::exec::{self, Failure};
use crate::executor::cache::CacheFolder;
use crate::executor::{Collected, Material};
use crate::folder::AttemptFolder;
use crate::secrets::Values;
use crate::supervisor::{Exit, Specification};

#[cfg(test)]
pub(crate) use contact::Contact;
pub use contact::Listener;
pub use losses::Losses;
pub use serve::serve;
pub use visit::Visit;

/// What a pod is to do.
#[derive(Debug, Clone)]
pub struct Duty {
    /// The project that the outputs belong to.
    pub project: ProjectId,
    /// What the supervisor is to run.
    pub command: Specification,
    /// The text of `job.json`.
    pub job_file: Vec<u8>,
    /// What belongs into the sandbox.
    pub materials: Vec<Material>,
    /// What is kept of the cache folder; none if the job asks for no cache.
    pub cache: Option<CacheFolder>,
    /// What the command's environment has besides; in memory only.
    pub secrets: Values,
}

/// The attempts whose couriers are expected. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Couriers {
    shared: Arc<Shared>,
}

struct Shared {
    key: token::Key,
    store: ChunkStore,
    expected: Mutex<HashMap<AttemptId, Arc<visit::Expected>>>,
}

impl Couriers {
    /// Opens the key that signs the couriers' tokens, or makes it, in the agent's data folder.
    ///
    /// # Errors
    /// Those of the file.
    pub fn open(data_folder: &Path, store: ChunkStore) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                key: token::Key::open(&data_folder.join("courier.key"))?,
                store,
                expected: Mutex::default(),
            }),
        })
    }

    /// What the courier of this attempt has to show; always the same.
    pub fn token(&self, attempt: AttemptId) -> SecretString {
        self.shared.key.token(attempt)
    }

    /// Expects the courier of an attempt, and tells what is known of it already.
    ///
    /// # Errors
    /// Those of the attempt's folder.
    pub fn expect(&self, attempt: AttemptId, folder: &AttemptFolder, duty: Duty) -> io::Result<Visit> {
        let expected = Arc::new(visit::Expected::open(folder, duty)?);
        self.expected().insert(attempt, Arc::clone(&expected));
        Ok(Visit::new(expected))
    }

    /// Has the courier of an attempt start another command beside the attempt's own.
    ///
    /// # Errors
    /// [`Failure`] if the attempt does not run, or its courier does not attend to it in time.
    pub async fn enter(&self, attempt: AttemptId, request: exec::Request) -> Result<exec::Session, Failure> {
        let expected = self.expected().get(&attempt).cloned();
        match expected {
            Some(expected) => expected.enter(request).await,
            None => Err(visit::not_running()),
        }
    }

    /// Refuses the courier of this attempt from now on.
    pub fn dismiss(&self, attempt: AttemptId) {
        if let Some(expected) = self.expected().remove(&attempt) {
            expected.dismiss();
        }
    }

    /// Whose courier calls.
    fn caller(&self, metadata: &MetadataMap) -> Result<(AttemptId, Arc<visit::Expected>), Status> {
        let shown = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token = shown
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| Status::unauthenticated("a courier's token is needed"))?;
        let attempt = self.shared.key.check(token).ok_or_else(|| {
            tracing::warn!("a courier's token is not of this agent");
            Status::unauthenticated("the token is not of this agent")
        })?;
        match self.expected().get(&attempt) {
            Some(expected) => Ok((attempt, Arc::clone(expected))),
            None => Err(Status::permission_denied("the attempt is not expected here (any more)")),
        }
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<AttemptId, Arc<visit::Expected>>> {
        self.shared.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a pod is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    staged: bool,
    started: Option<crate::supervisor::Started>,
    exit: Option<Exit>,
    collected: Option<Collected>,
}

impl Duty {
    fn may_read(&self, manifest: Digest) -> bool {
        self.materials.iter().any(|material| material.manifest == manifest)
    }
}

#[cfg(test)]
mod tests;
