//! What an image runs if a job names no command: asked of its registry, since Kubernetes does not say.
//!
//! A small client of our own. What there is holds manifests of any size in memory, and a job names the registry: whoever
//! writes a job file must not be able to fill the agent's memory. Only what a registry says in the error format of the
//! distribution specification is ever shown, never the raw answer of some host.

mod cache;
mod credentials;
mod image;
mod reference;
mod registry;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, timeout};
use tombolo_core::build::TerminalState;

use self::cache::Cache;
pub use self::credentials::{Credential, InvalidCredentials, find as find_credential};
pub use self::image::Image;
pub use self::reference::{InvalidReference, Reference};
use self::registry::Registry;
use super::settings::Settings;

/// How long a registry may take in all.
const DEADLINE: Duration = Duration::from_secs(30);

/// Looks images up, and remembers them for a while.
#[derive(Debug)]
pub struct Entrypoints {
    registry: Registry,
    cache: Cache,
}

/// Why nobody knows what an image runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job names something that is not an image.
    #[error("{0}; mend `image` in the job file")]
    Reference(#[from] InvalidReference),
    /// The registry has no such image.
    #[error("the image {image} does not exist: {words}; mend `image` in the job file, or push the image")]
    Missing {
        /// The job's image.
        image: String,
        /// What the registry says.
        words: String,
    },
    /// The registry does not show it to this cluster.
    #[error(
        "the registry does not let this cluster see the image {image}: {words}; give the cluster credentials in \
         `kubernetes.image_pull_secrets`, or name a `command` in the job file"
    )]
    Denied {
        /// The job's image.
        image: String,
        /// What the registry says.
        words: String,
    },
    /// The registry cannot be asked, or its answer makes no sense.
    #[error(
        "what the image {image} runs cannot be asked of its registry: {words}; name a `command` in the job file to do without"
    )]
    Registry {
        /// The job's image.
        image: String,
        /// What went wrong.
        words: String,
    },
    /// The image says nothing.
    #[error("the image {image} names no program that it would run: name a `command` in the job file")]
    NoCommand {
        /// The job's image.
        image: String,
    },
    /// A pull secret makes no sense.
    #[error("a pull secret of this cluster cannot be used: {0}")]
    Credentials(#[from] InvalidCredentials),
}

impl Error {
    /// What it means for the attempt: what the job names wrongly is its own fault.
    pub const fn state(&self) -> TerminalState {
        match self {
            Self::Reference(_) | Self::Missing { .. } | Self::NoCommand { .. } => TerminalState::Failure,
            Self::Denied { .. } | Self::Registry { .. } | Self::Credentials(_) => TerminalState::Error,
        }
    }
}

impl Entrypoints {
    /// For the nodes of a cluster with these settings. Asks nobody yet.
    ///
    /// # Errors
    /// If TLS cannot be prepared, in words.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self {
            registry: Registry::new(settings)?,
            cache: Cache::default(),
        })
    }

    /// What `image` says of itself. `pull_secrets`: texts of Docker configurations, the first that fits is used.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::NoCommand`] only by [`Self::command_of`].
    pub async fn look_up(&self, image: &str, pull_secrets: &[SecretString]) -> Result<Arc<Image>, Error> {
        let reference = Reference::parse(image)?;
        if let Some(known) = self.cache.get(&reference, Instant::now()) {
            return Ok(known);
        }
        let credential = credentials::find(pull_secrets, &reference)?;
        let asked = timeout(DEADLINE, self.registry.image(&reference, credential.as_ref())).await;
        let found = match asked {
            Ok(Ok(found)) => Arc::new(found),
            Ok(Err(fault)) => return Err(fault.of(image)),
            Err(_) => {
                let words = format!(
                    "{} did not answer within {}",
                    reference.registry(),
                    humantime::format_duration(DEADLINE)
                );
                return Err(Error::Registry {
                    image: image.to_owned(),
                    words,
                });
            }
        };
        self.cache.put(reference, Arc::clone(&found), Instant::now());
        Ok(found)
    }

    /// What `image` runs: never empty.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn command_of(&self, image: &str, pull_secrets: &[SecretString]) -> Result<Arc<Image>, Error> {
        let found = self.look_up(image, pull_secrets).await?;
        if found.command.is_empty() {
            return Err(Error::NoCommand {
                image: image.to_owned(),
            });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
