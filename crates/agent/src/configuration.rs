//! An agent's configuration: one TOML file (commented in `config/agent.toml`) and variables `TOMBOLO_AGENT_*`.
//!
//! [`Configuration`] is what is written; [`Configuration::validate`] checks what the types alone do not, before anything binds
//! or is written.

mod machine;
mod store;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tombolo_core::resources::Resources;
use tombolo_identity::invite::Invite;
use tombolo_identity::transport::Address;
use tombolo_runtime::configuration::Faults;
use tombolo_runtime::telemetry;

use crate::executor::kubernetes::settings::{Section, Settings as KubernetesSettings, own_namespace};
use crate::executor::process::Images;
use crate::sweeping;
pub use store::Store;

/// What the variables that override the file begin with.
pub const ENVIRONMENT_PREFIX: &str = "TOMBOLO_AGENT";

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The folder for all that the agent keeps: its identity, and one folder for each attempt. Made if it does not exist.
    pub data_folder: PathBuf,
    /// Where the cluster keeps outputs.
    pub store: Store,
    /// Where the master takes agents: `host:port`, or several with commas between, in the order to try. What the invite said if this is not
    /// given.
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
    /// How what nobody needs any more goes from the store.
    #[serde(default)]
    pub sweep: sweeping::Settings,
    /// Where other agents may fetch outputs directly; nowhere if this is not given.
    #[serde(default)]
    pub peer: Option<Peer>,
    /// How much of the link to other clusters and the master may be used.
    #[serde(default)]
    pub bandwidth: Bandwidths,
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

impl Capacity {
    /// Whether somebody has said how much there is.
    pub const fn is_given(&self) -> bool {
        self.cpu_milli.is_some() || self.memory_bytes.is_some()
    }
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

/// Limits in bytes per second; none are no limits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bandwidths {
    /// For what the cluster fetches from others and from the master.
    pub receive: Option<u64>,
    /// For what the agent sends to other clusters. What they read straight from a bucket does not pass it.
    pub send: Option<u64>,
}

impl Bandwidths {
    /// A reader gives a chunk two minutes, and asks for eight at once.
    const LEAST: u64 = 1024 * 1024;

    fn check(&self, faults: &mut Faults) {
        for (key, limit) in [("bandwidth.receive", self.receive), ("bandwidth.send", self.send)] {
            if limit.is_some_and(|limit| limit < Self::LEAST) {
                faults.add(
                    key,
                    "it is less than 1048576 (1 MiB/s), too little for a chunk to come in time",
                );
            }
        }
    }
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

/// What was checked: values that the types of [`Configuration`] do not hold to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The master's addresses; empty if none was given.
    pub master: Vec<Address>,
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
    /// All settings that cannot be.
    pub fn validate(&self) -> Result<Checked, Faults> {
        let mut faults = Faults::default();
        if self.data_folder.as_os_str().is_empty() {
            faults.add("data_folder", "it is empty");
        }
        self.store.check(&mut faults);
        self.bandwidth.check(&mut faults);
        self.sweep.check(&mut faults);
        let master = self.master.iter().flat_map(|text| text.split(','));
        let master = master.filter_map(|text| faults.take("master", Address::parse(text.trim())));
        let master = master.collect();
        if let Some(peer) = &self.peer {
            faults.take("peer.advertise", Address::parse(&peer.advertise));
        }
        // A variable that is set to nothing is one that is not set.
        let invite = self
            .invite
            .as_ref()
            .filter(|text| !text.expose_secret().trim().is_empty());
        let invite = invite.and_then(|text| faults.take("invite", Invite::parse(text)));
        let capacity = self.capacity(&mut faults);
        let slots = self
            .slots
            .unwrap_or_else(|| u32::try_from(machine::processors()).unwrap_or(u32::MAX));
        for (key, is_zero) in [
            ("slots", slots == 0),
            (
                "capacity.cpu_milli",
                capacity.is_some_and(|capacity| capacity.cpu_milli == 0),
            ),
            (
                "capacity.memory_bytes",
                capacity.is_some_and(|capacity| capacity.memory_bytes == 0),
            ),
            ("log_limit_bytes", self.log_limit_bytes == 0),
            ("store_deadline", self.store_deadline.is_zero()),
        ] {
            if is_zero {
                faults.add(key, "it is 0");
            }
        }
        let kubernetes = self.kubernetes.as_ref();
        let kubernetes = kubernetes.and_then(|section| faults.take("kubernetes", section.check(own_namespace())));
        faults.finish(capacity.map(|capacity| Checked {
            master,
            invite,
            slots,
            capacity,
            kubernetes,
        }))
    }

    fn capacity(&self, faults: &mut Faults) -> Option<Resources> {
        let processors = || u64::try_from(machine::processors()).unwrap_or(u64::MAX);
        let cpu_milli = self.capacity.cpu_milli;
        let memory_bytes = self.capacity.memory_bytes.or_else(machine::memory_bytes);
        if memory_bytes.is_none() {
            faults.add(
                "capacity.memory_bytes",
                "this system does not say how much memory it has: give the number",
            );
        }
        Some(Resources {
            cpu_milli: cpu_milli.unwrap_or_else(|| processors().saturating_mul(1000)),
            memory_bytes: memory_bytes?,
        })
    }
}

#[cfg(test)]
mod tests;
