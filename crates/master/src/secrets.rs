//! Secrets of projects: sealed before they come near the control plane or the database, and opened for the agent of the cluster that
//! has the attempt which needs them, when it asks.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use tombolo_core::control::record::Project;
use tombolo_core::control::{Command, Control};
use tombolo_core::id::{AttemptId, ProjectId};
use tombolo_core::name::{ClusterName, SecretName};
use tombolo_core::secret::{SealedSecret, SealedValue, Secret};
use tombolo_core::time::Timestamp;
use tombolo_identity::sealing::{self, Keys};
use tombolo_store::Store;

use crate::Database;
use crate::bootstrap::DataFolder;
use crate::configuration;
use crate::driver::{ApplyError, Handle};

/// The most that the secrets of one job have together, names and values: a system gives a command no more, and the agent's answer holds it.
const VALUES_BYTES_MAX: usize = 2 << 20;

/// Why the master cannot start with the secrets that there are.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keys.
    #[error("the keys of secrets cannot be used: {0}")]
    Keys(#[from] sealing::Error),
    /// The file that the configuration names.
    #[error("there is no `{}` (`secrets.key_file`); `openssl rand -base64 32` makes a key", .0.display())]
    NoFile(PathBuf),
    /// Some secrets could not be opened.
    #[error(
        "secrets in the database were encrypted with the {} {}, which `{}` does not have: put the key back into that file (the first \
         line encrypts, further lines only decrypt), or delete these secrets with a master that has it",
        if keys.len() == 1 { "key" } else { "keys" },
        keys.join(", "),
        path.display()
    )]
    MissingKeys {
        /// Their names.
        keys: Vec<String>,
        /// Where keys are looked for.
        path: PathBuf,
    },
    /// The database.
    #[error("the keys of secrets cannot be looked up in the database: {0}")]
    Store(#[from] tombolo_store::Error),
}

/// Why an attempt is not given its secrets.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// It is not the asking cluster's, or does not count (any more).
    #[error("attempt {0} is not current on this cluster")]
    Stale(AttemptId),
    /// There is no such secret any more.
    #[error(
        "project `{project}` has no secret `{name}` (for the variable `{variable}`): it was deleted after the build was submitted"
    )]
    Missing {
        /// The project.
        project: String,
        /// The secret.
        name: SecretName,
        /// What it is for.
        variable: String,
    },
    /// No command could be started with them.
    #[error("its secrets have more than {} MiB together", VALUES_BYTES_MAX >> 20)]
    TooMuch,
    /// It cannot be opened.
    #[error(transparent)]
    Sealed(#[from] sealing::Error),
    /// The database cannot say at the moment.
    #[error("the master cannot use its database at the moment")]
    Store,
    /// The control plane cannot say at the moment.
    #[error(transparent)]
    Control(#[from] ApplyError),
}

/// The secrets of all projects. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Secrets {
    keys: Arc<Keys>,
    store: Arc<Database>,
}

impl Secrets {
    /// Reads the keys, or makes one if there are neither keys nor secrets.
    ///
    /// # Errors
    /// See [`Error`]: also if some secret in the database could not be opened.
    pub async fn open(
        settings: &configuration::Secrets,
        folder: &DataFolder,
        store: Arc<Database>,
    ) -> Result<Self, Error> {
        let path = settings.key_file.clone().unwrap_or_else(|| folder.secret_keys());
        let needed = store.secret_keys().await?;
        let keys = match Keys::load(&path)? {
            Some(keys) => keys,
            None if settings.key_file.is_some() => return Err(Error::NoFile(path)),
            None if needed.is_empty() => create(&path)?,
            None => return Err(Error::MissingKeys { keys: needed, path }),
        };
        let missing = |key: &String| !keys.ids().any(|id| id == key);
        let missing: Vec<String> = needed.into_iter().filter(missing).collect();
        if !missing.is_empty() {
            return Err(Error::MissingKeys { keys: missing, path });
        }
        let keys = Arc::new(keys);
        Ok(Self { keys, store })
    }

    /// Encrypts with the first key what another one has encrypted: a key that is to go is needed for one more start only. To be called before
    /// anybody can set a secret. What cannot be encrypted anew stays as it is.
    pub async fn renew(&self, handle: &Handle) {
        match self.reseal(handle).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "encrypted secrets with another key"),
            Err(error) => tracing::warn!(
                error = tombolo_runtime::reason::whole(&error),
                "secrets were not encrypted with another key"
            ),
        }
    }

    async fn reseal(&self, handle: &Handle) -> anyhow::Result<usize> {
        let present = self.keys.ids().next().unwrap_or_default();
        let mut count = 0;
        if self.store.secret_keys().await?.iter().all(|key| key == present) {
            return Ok(count);
        }
        let all = handle.query(|control| {
            let projects = control.projects().map(|project| project.id);
            projects
                .flat_map(|project| control.secrets(project))
                .collect::<Vec<Secret>>()
        });
        for secret in all.await? {
            let Secret { project, name, .. } = &secret;
            let sealed = self.store.secrets(*project, vec![name.clone()]).await?;
            for (name, value) in sealed.into_iter().filter(|(_, value)| value.key != present) {
                match self.reseal_one(handle, secret.clone(), &name, &value).await {
                    Ok(()) => count += 1,
                    // It may have been deleted meanwhile. The others have nothing to do with it.
                    Err(error) => tracing::warn!(%project, secret = %name, %error, "a secret was not encrypted anew"),
                }
            }
        }
        Ok(count)
    }

    async fn reseal_one(
        &self,
        handle: &Handle,
        secret: Secret,
        name: &SecretName,
        value: &SealedValue,
    ) -> anyhow::Result<()> {
        let project = secret.project;
        let value = self.keys.seal(project, name, &self.keys.open(project, name, value)?)?;
        let command = Command::ResealSecret(SealedSecret { secret, value });
        handle.apply(command).await?;
        Ok(())
    }

    /// What gives a project's secret a value.
    ///
    /// # Errors
    /// If it cannot be encrypted.
    pub fn setting(
        &self,
        project: ProjectId,
        name: SecretName,
        value: &SecretString,
    ) -> Result<Command, sealing::Error> {
        let value = self.keys.seal(project, &name, value)?;
        Ok(Command::SetSecret(SealedSecret {
            secret: Secret {
                project,
                name,
                // The control plane says when.
                updated_at: Timestamp::default(),
            },
            value,
        }))
    }

    /// The values that the job of an attempt refers to, by the variables that are to have them.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn of_attempt(
        &self,
        handle: &Handle,
        cluster: &ClusterName,
        attempt: AttemptId,
    ) -> Result<BTreeMap<String, SecretString>, Denied> {
        let asking = cluster.clone();
        let project = handle
            .query(move |control| project_of(control, &asking, attempt))
            .await?;
        let project = project.ok_or(Denied::Stale(attempt))?;
        let specs = self
            .store
            .specs(vec![attempt.job.specified_by()])
            .await
            .map_err(unread)?;
        let (_, spec) = specs.into_iter().next().ok_or(Denied::Stale(attempt))?;
        let mut names: Vec<SecretName> = spec.secrets.values().cloned().collect();
        names.sort_unstable();
        names.dedup();
        let sealed = self.store.secrets(project.id, names).await.map_err(unread)?;
        let sealed: HashMap<SecretName, SealedValue> = sealed.into_iter().collect();
        let mut opened = HashMap::new();
        let mut values = BTreeMap::new();
        let mut bytes = 0;
        for (variable, name) in spec.secrets {
            let Some(value) = sealed.get(&name) else {
                let project = project.name.to_string();
                return Err(Denied::Missing {
                    project,
                    name,
                    variable,
                });
            };
            if !opened.contains_key(&name) {
                opened.insert(name.clone(), self.keys.open(project.id, &name, value)?);
            }
            let value: &SecretString = &opened[&name];
            bytes += variable.len() + value.expose_secret().len();
            if bytes > VALUES_BYTES_MAX {
                return Err(Denied::TooMuch);
            }
            values.insert(variable, value.clone());
        }
        Ok(values)
    }
}

/// The project of an attempt, if the attempt is the cluster's and counts.
fn project_of(control: &Control, cluster: &ClusterName, attempt: AttemptId) -> Option<Project> {
    let view = control.assignment(attempt)?;
    (view.cluster == cluster).then(|| view.project.clone())
}

fn unread(error: tombolo_store::Error) -> Denied {
    tracing::warn!(%error, "the secrets of an attempt cannot be read");
    Denied::Store
}

fn create(path: &Path) -> Result<Keys, Error> {
    let keys = Keys::create(path)?;
    tracing::info!(file = %path.display(), "made a key for secrets");
    Ok(keys)
}
