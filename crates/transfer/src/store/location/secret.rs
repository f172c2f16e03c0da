use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// Longer than any credential of a store; a larger file is something else.
const MAXIMUM_SECRET_BYTES: usize = 64 << 10;

/// A secret, or where it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretReference {
    /// The secret itself.
    Value(SecretString),
    /// The name of an environment variable.
    Env(String),
    /// A file (also one of a mounted Secret) whose content, less white space around it, is the secret.
    File(PathBuf),
}

/// Where a store's credentials come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// From the configuration, and from nowhere else.
    #[default]
    Given,
    /// From where this process runs: workload identity, the metadata of the machine, the cloud's usual environment variables.
    Ambient,
}

impl SecretReference {
    /// What can be said against it without looking where it points.
    pub fn fault(&self) -> Option<String> {
        let empty = match self {
            Self::Value(secret) => secret.expose_secret().trim().is_empty(),
            Self::Env(name) => name.is_empty(),
            Self::File(path) => path.as_os_str().is_empty(),
        };
        empty.then(|| {
            "it is empty: give `{ env = \"NAME\" }`, `{ file = \"PATH\" }` or `{ value = \"...\" }`".to_owned()
        })
    }

    /// The secret, read from where it is. `key` is the setting, for messages.
    ///
    /// # Errors
    /// Why it cannot be had, without anything of it.
    pub fn read(&self, key: &str) -> Result<SecretString, String> {
        let secret: SecretString = match self {
            Self::Value(secret) => secret.clone(),
            Self::Env(name) => std::env::var(name)
                .map_err(|_| format!("`{key}`: the environment variable {name} is not set"))?
                .into(),
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("`{key}`: cannot read the secret from {}: {error}", path.display()))?
                .into(),
        };
        let trimmed = secret.expose_secret().trim();
        match trimmed.len() {
            0 => Err(format!("`{key}`: the secret is empty")),
            length if length > MAXIMUM_SECRET_BYTES => {
                Err(format!("`{key}`: what is there has {length} bytes, which is no secret"))
            }
            _ => Ok(trimmed.to_owned().into()),
        }
    }
}
