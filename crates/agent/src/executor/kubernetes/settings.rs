//! The section `[kubernetes]` of an agent's configuration.
//!
//! [`Section`] is what is written; [`Section::check`] makes [`Settings`] of it, or names every fault at once.

mod check;
mod quantity;
mod volume;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use k8s_openapi::api::core::v1::{Affinity, Toleration};
use serde::Deserialize;
use tombolo_core::name::ProjectName;
use tombolo_core::resources::Resources;
use tombolo_identity::transport::Address;

pub use self::check::{Error, Fault, own_namespace};
pub use self::volume::{
    AccessMode, ClaimSection, ClaimSettings, SandboxVolume, SharedVolumes, VolumeSection, VolumesSection,
};
use super::pod::Overlay;

/// Everything that can be set, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// Where jobs run; the agent's own namespace if it is not given.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The image of this program, which pods take supervisor and courier from.
    pub image: String,
    /// When that image is pulled.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// When the images of jobs are pulled.
    #[serde(default)]
    pub job_image_pull_policy: PullPolicy,
    /// Where pods reach the agent: `host:port`.
    pub courier_address: String,
    /// Where the agent listens to its pods.
    #[serde(default = "default_courier_listen")]
    pub courier_listen: SocketAddr,
    /// What a job gets that does not say what it needs.
    #[serde(default = "default_resources")]
    pub default_resources: Amounts,
    /// The most that a job may ask for; no bound if it is not given.
    #[serde(default)]
    pub maximum_resources: Option<Amounts>,
    /// What a pod needs beside its job's container.
    #[serde(default = "courier_resources")]
    pub courier_resources: Amounts,
    /// How much a job may write on its node's disk.
    #[serde(default = "default_ephemeral_storage_limit")]
    pub ephemeral_storage_limit: ByteSize,
    /// How much of that the scheduler sets aside.
    #[serde(default = "default_ephemeral_storage_request")]
    pub ephemeral_storage_request: ByteSize,
    /// Volumes for jobs whose inputs would fill their node's disk; none if it is not given.
    #[serde(default)]
    pub sandbox_volume: Option<VolumeSection>,
    /// The volumes that jobs may share; none if it is not given.
    #[serde(default)]
    pub volumes: Option<VolumesSection>,
    /// `key=value`: nodes that are kept for jobs by a label and a taint.
    #[serde(default)]
    pub dedicated_nodes: Option<String>,
    /// Labels that nodes must have.
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods tolerate.
    #[serde(default)]
    pub tolerations: Vec<Toleration>,
    /// Affinity as Kubernetes writes it.
    #[serde(default)]
    pub affinity: Option<Affinity>,
    /// The priority class of pods.
    #[serde(default)]
    pub priority_class: Option<String>,
    /// The runtime class of pods.
    #[serde(default)]
    pub runtime_class: Option<String>,
    /// Secrets with the registries' credentials, in the namespace of the pods.
    #[serde(default)]
    pub image_pull_secrets: Vec<String>,
    /// The service account of pods. Its token is mounted nowhere.
    #[serde(default)]
    pub service_account: Option<String>,
    /// The user that jobs run as; the image's own if it is not given.
    #[serde(default)]
    pub run_as_user: Option<i64>,
    /// What pods may do.
    #[serde(default)]
    pub pod_security: PodSecurity,
    /// The value of `kubernetes.io/os` that nodes must have.
    #[serde(default = "default_operating_system")]
    pub operating_system: String,
    /// The value of `kubernetes.io/arch` that nodes must have; any if it is not given.
    #[serde(default)]
    pub architecture: Option<String>,
    /// How long pods stay after their end, for people to look at.
    #[serde(default, with = "humantime_serde")]
    pub keep_finished: Duration,
    /// What is laid over every pod, as YAML or JSON.
    #[serde(default)]
    pub pod_template: Option<String>,
    /// How long a pod may wait for a node.
    #[serde(default = "default_schedule_deadline", with = "humantime_serde")]
    pub schedule_deadline: Duration,
    /// How long an image's registry may go on refusing it.
    #[serde(default = "default_image_pull_deadline", with = "humantime_serde")]
    pub image_pull_deadline: Duration,
    /// How long a pod may take from its node to its containers running.
    #[serde(default = "default_start_deadline", with = "humantime_serde")]
    pub start_deadline: Duration,
    /// How long neither a node nor the pod on it may be heard before the job counts as lost.
    #[serde(default = "default_node_lost_deadline", with = "humantime_serde")]
    pub node_lost_deadline: Duration,
    /// How long a pod that is removed has to end by itself.
    #[serde(default = "default_termination_grace", with = "humantime_serde")]
    pub termination_grace: Duration,
    /// Registries that are spoken to without TLS: `host` or `host:port`.
    #[serde(default)]
    pub insecure_registries: Vec<String>,
    /// What is different for single projects, by their names.
    #[serde(default)]
    pub projects: BTreeMap<String, ProjectSection>,
}

/// What is different for the jobs of one project.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProjectSection {
    /// Where they run.
    pub namespace: Option<String>,
    /// What their pods may do.
    pub pod_security: Option<PodSecurity>,
    /// The user that they run as.
    pub run_as_user: Option<i64>,
}

/// Processor and memory, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// Thousandths of a processor.
    pub cpu_milli: u64,
    /// Memory.
    pub memory: ByteSize,
}

impl Amounts {
    const fn resources(self) -> Resources {
        Resources {
            cpu_milli: self.cpu_milli,
            memory_bytes: self.memory.0,
        }
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// Before every start.
    Always,
    /// If the node does not have it.
    #[default]
    IfNotPresent,
    /// Not at all.
    Never,
}

impl PullPolicy {
    /// The name that Kubernetes gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// The levels of the Pod Security Standards that pods can be held to. `privileged` is not among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodSecurity {
    /// Nothing beyond what containers are for; images may insist on root.
    Baseline,
    /// No root, no capabilities, no new privileges.
    #[default]
    Restricted,
}

impl PodSecurity {
    /// The name of the level.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// Nodes that are kept for jobs: labelled and tainted with the same key and value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedicatedNodes {
    /// The key of label and taint.
    pub key: String,
    /// The value of label and taint.
    pub value: String,
}

/// What was checked. See [`Section`] for what each means.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "the fields of `Section`, with types that hold them to their rules"
)]
pub struct Settings {
    pub namespace: String,
    pub image: String,
    pub image_pull_policy: PullPolicy,
    pub job_image_pull_policy: PullPolicy,
    pub courier_address: Address,
    pub courier_listen: SocketAddr,
    pub default_resources: Resources,
    pub maximum_resources: Option<Resources>,
    pub courier_resources: Resources,
    pub ephemeral_storage_limit_bytes: u64,
    pub ephemeral_storage_request_bytes: u64,
    pub sandbox_volume: Option<SandboxVolume>,
    pub volumes: Option<SharedVolumes>,
    pub dedicated_nodes: Option<DedicatedNodes>,
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub affinity: Option<Affinity>,
    pub priority_class: Option<String>,
    pub runtime_class: Option<String>,
    pub image_pull_secrets: Vec<String>,
    pub service_account: Option<String>,
    pub run_as_user: Option<i64>,
    pub pod_security: PodSecurity,
    pub operating_system: String,
    pub architecture: Option<String>,
    pub keep_finished: Duration,
    pub pod_template: Overlay,
    pub deadlines: Deadlines,
    pub termination_grace: Duration,
    pub insecure_registries: Vec<String>,
    pub projects: BTreeMap<ProjectName, ProjectSettings>,
}

/// What is different for one project, checked.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields of `ProjectSection`")]
pub struct ProjectSettings {
    pub namespace: Option<String>,
    pub pod_security: Option<PodSecurity>,
    pub run_as_user: Option<i64>,
}

/// How long a pod may take to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// To get a node.
    pub schedule: Duration,
    /// To get its images while the registry refuses them.
    pub image_pull: Duration,
    /// From its node to its containers running.
    pub start: Duration,
    /// To be heard again, itself or its node.
    pub node_lost: Duration,
}

/// What one job asks for. What it leaves open is as the cluster's settings say. There is no service account, priority or
/// runtime class, toleration or level of Pod Security here: a job file must not raise its own rights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobSettings {
    /// What it needs; numbers that are 0 are left open.
    pub resources: Resources,
    /// How much it may write on its node's disk, in bytes.
    pub ephemeral_storage_bytes: Option<u64>,
    /// Labels that its node must have, beside those of the cluster's settings.
    pub node_selector: BTreeMap<String, String>,
    /// The user that it runs as.
    pub run_as_user: Option<i64>,
    /// The value of `kubernetes.io/arch` that its node must have.
    pub architecture: Option<String>,
}

impl Settings {
    /// All namespaces that jobs run in: those to watch, and to look for leftovers.
    pub fn namespaces(&self) -> Vec<String> {
        let of_projects = self.projects.values().filter_map(|project| project.namespace.clone());
        let mut namespaces: Vec<_> = std::iter::once(self.namespace.clone()).chain(of_projects).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        namespaces
    }

    /// Where jobs of a project run.
    pub fn namespace_of(&self, project: &ProjectName) -> &str {
        let own = self
            .projects
            .get(project)
            .and_then(|project| project.namespace.as_deref());
        own.unwrap_or(&self.namespace)
    }

    /// What pods of a project may do.
    pub fn pod_security_of(&self, project: &ProjectName) -> PodSecurity {
        let own = self.projects.get(project).and_then(|project| project.pod_security);
        own.unwrap_or(self.pod_security)
    }

    /// The user that a job of a project runs as, unless it is the image's.
    pub fn run_as_user_of(&self, project: &ProjectName, job: &JobSettings) -> Option<i64> {
        let own = || self.projects.get(project).and_then(|project| project.run_as_user);
        job.run_as_user.or_else(own).or(self.run_as_user)
    }

    /// What a job gets.
    ///
    /// # Errors
    /// A sentence that says by how much it asks for too much.
    pub fn resources_of(&self, job: &JobSettings) -> Result<Resources, String> {
        let or = |own: u64, default: u64| if own == 0 { default } else { own };
        let resources = Resources {
            cpu_milli: or(job.resources.cpu_milli, self.default_resources.cpu_milli),
            memory_bytes: or(job.resources.memory_bytes, self.default_resources.memory_bytes),
        };
        match &self.maximum_resources {
            Some(maximum) if !maximum.fits(&resources) => Err(format!(
                "the job asks for {}, and this cluster gives one job at most {}",
                quantity::words(&resources),
                quantity::words(maximum)
            )),
            _ => Ok(resources),
        }
    }
}

const fn default_courier_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7444)
}

const fn default_resources() -> Amounts {
    Amounts {
        cpu_milli: 1000,
        memory: ByteSize::gib(1),
    }
}

/// Little to be set aside; what a courier uses while it moves an output is bounded by its limits.
const fn courier_resources() -> Amounts {
    Amounts {
        cpu_milli: 10,
        memory: ByteSize::mib(32),
    }
}

const fn default_ephemeral_storage_limit() -> ByteSize {
    ByteSize::gib(8)
}

const fn default_ephemeral_storage_request() -> ByteSize {
    ByteSize::mib(128)
}

fn default_operating_system() -> String {
    "linux".to_owned()
}

/// Long enough for a node to be added.
const fn default_schedule_deadline() -> Duration {
    Duration::from_secs(10 * 60)
}

const fn default_image_pull_deadline() -> Duration {
    Duration::from_secs(2 * 60)
}

const fn default_start_deadline() -> Duration {
    Duration::from_secs(30 * 60)
}

// As long as a cluster may be silent before its jobs are placed elsewhere.
const fn default_node_lost_deadline() -> Duration {
    Duration::from_secs(5 * 60)
}

/// A job that is stopped still ships its output within this.
const fn default_termination_grace() -> Duration {
    Duration::from_secs(60)
}

#[cfg(test)]
mod tests;
