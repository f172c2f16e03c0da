//! An agent's configuration: one TOML file (commented in `config/agent.toml`) and variables `TOMBOLO_AGENT_*`.
//!
//! [`Configuration`] is what is written; [`Configuration::validate`] checks what the types alone do not, before anything binds
//! or is written.

mod machine;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tombolo_core::resources::Resources;
use tombolo_identity::invite::Invite;
use tombolo_identity::transport::Address;
use tombolo_runtime::telemetry;
use tombolo_transfer::store::StoreLocation;

use crate::executor::kubernetes::settings::{Section, Settings as KubernetesSettings, own_namespace};
use crate::executor::process::Images;

/// What the variables that override the file begin with.
pub const ENVIRONMENT_PREFIX: &str = "TOMBOLO_AGENT";

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The folder for all that the agent keeps: its identity, and one folder for each attempt. Made if it does not exist.
    pub data_folder: PathBuf,
    /// Where the cluster keeps outputs.
    pub store: StoreLocation,
    /// Where the master takes agents: `host:port`. What the invite said if this is not given.
    #[serde(default)]
    pub master: Option<String>,
    /// The right to join, needed at the first start only. Best given as the variable `TOMBOLO_AGENT_INVITE`.
    #[serde(default)]
    pub invite: Option<SecretString>,
    /// How many attempts run at once at the most; as many as the machine has processors if this is not given.
    #[serde(default)]
    pub slots: Option<u32>,
    /// What there is for jobs.
    #[serde(default)]
    pub capacity: Capacity,
    /// What to do with a job's image, which this executor cannot run.
    #[serde(default)]
    pub images: Images,
    /// How many bytes the log of one attempt may take on the disk.
    #[serde(default = "default_log_limit_bytes")]
    pub log_limit_bytes: u64,
    /// How long a command may go on after it was asked to stop.
    #[serde(default = "default_stop_grace", with = "humantime_serde")]
    pub stop_grace: Duration,
    /// How long the store may be out of reach before what needs it fails.
    #[serde(default = "default_store_deadline", with = "humantime_serde")]
    pub store_deadline: Duration,
    /// Where other agents may fetch outputs directly; nowhere if this is not given.
    #[serde(default)]
    pub peer: Option<Peer>,
    /// What the pods of jobs are like; without it, commands run as processes.
    #[serde(default)]
    pub kubernetes: Option<Section>,
    /// What the process says of itself.
    #[serde(default)]
    pub telemetry: telemetry::Settings,
}

/// What there is for jobs, in all.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capacity {
    /// Thousandths of a processor; all that this process may use if this is not given.
    pub cpu_milli: Option<u64>,
    /// Bytes of memory; all that this process may use if this is not given.
    pub memory_bytes: Option<u64>,
}

/// The port at which other agents may fetch outputs directly.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where others reach it: `host:port`.
    pub advertise: String,
}

/// 64 MiB: a million lines.
const fn default_log_limit_bytes() -> u64 {
    64 * 1024 * 1024
}

const fn default_stop_grace() -> Duration {
    Duration::from_secs(10)
}

const fn default_store_deadline() -> Duration {
    Duration::from_secs(5 * 60)
}

/// A setting that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the setting `{key}` is not valid: {reason}")]
pub struct Invalid {
    /// Which.
    pub key: &'static str,
    /// Why.
    pub reason: String,
}

/// What was checked: values that the types of [`Configuration`] do not hold to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The master's address, if one was given.
    pub master: Option<Address>,
    /// The invite, if one was given.
    pub invite: Option<Invite>,
    /// How many attempts run at once at the most.
    pub slots: u32,
    /// What there is for jobs.
    pub capacity: Resources,
    /// What the pods of jobs are like, if commands run in pods.
    pub kubernetes: Option<KubernetesSettings>,
}

impl Configuration {
    /// Checks everything that the types alone do not hold, and looks at the machine for what was not given.
    ///
    /// # Errors
    /// The first setting that cannot be.
    pub fn validate(&self) -> Result<Checked, Invalid> {
        let invalid = |key, reason: &dyn ToString| Invalid {
            key,
            reason: reason.to_string(),
        };
        if self.data_folder.as_os_str().is_empty() {
            return Err(invalid("data_folder", &"it is empty"));
        }
        let address = |key, text: &String| Address::parse(text).map_err(|error| invalid(key, &error));
        let master = self.master.as_ref().map(|text| address("master", text)).transpose()?;
        if let Some(peer) = &self.peer {
            address("peer.advertise", &peer.advertise)?;
        }
        // A variable that is set to nothing is one that is not set.
        let invite = self
            .invite
            .as_ref()
            .filter(|text| !text.expose_secret().trim().is_empty());
        let invite = invite
            .map(Invite::parse)
            .transpose()
            .map_err(|error| invalid("invite", &error))?;
        let capacity = self.capacity()?;
        let slots = self
            .slots
            .unwrap_or_else(|| u32::try_from(machine::processors()).unwrap_or(u32::MAX));
        for (key, number) in [
            ("slots", u64::from(slots)),
            ("capacity.cpu_milli", capacity.cpu_milli),
            ("capacity.memory_bytes", capacity.memory_bytes),
            ("log_limit_bytes", self.log_limit_bytes),
        ] {
            if number == 0 {
                return Err(invalid(key, &"it is 0"));
            }
        }
        if self.store_deadline.is_zero() {
            return Err(invalid("store_deadline", &"it is 0"));
        }
        let kubernetes = self.kubernetes.as_ref().map(|section| section.check(own_namespace()));
        let kubernetes = kubernetes.transpose().map_err(|error| invalid("kubernetes", &error))?;
        Ok(Checked {
            master,
            invite,
            slots,
            capacity,
            kubernetes,
        })
    }

    fn capacity(&self) -> Result<Resources, Invalid> {
        let processors = || u64::try_from(machine::processors()).unwrap_or(u64::MAX);
        let cpu_milli = self.capacity.cpu_milli;
        let memory_bytes = self.capacity.memory_bytes.or_else(machine::memory_bytes);
        Ok(Resources {
            cpu_milli: cpu_milli.unwrap_or_else(|| processors().saturating_mul(1000)),
            memory_bytes: memory_bytes.ok_or_else(|| Invalid {
                key: "capacity.memory_bytes",
                reason: "this system does not say how much memory it has: give the number".to_owned(),
            })?,
        })
    }
}

#[cfg(test)]
mod tests;
