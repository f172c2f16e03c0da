//! The master's configuration: one TOML file (commented in `config/master.toml`) and variables `TOMBOLO_MASTER_*`.
//!
//! [`Configuration`] is what is written; [`Configuration::validate`] checks what the types alone do not, before anything binds
//! or is written.

mod authority;
mod caches;
mod database;
mod exec;
mod health;
mod leadership;
mod placement;
mod ports;
mod retention;
mod secrets;
mod transfers;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tombolo_core::control;
use tombolo_core::route::Costs;
use tombolo_identity::member::{DEFAULT_TRUST_DOMAIN, TrustDomain};
use tombolo_identity::transport::Address;
use tombolo_runtime::configuration::Faults;
use tombolo_runtime::telemetry;
use tombolo_transfer::store::location::StoreLocation;
use url::Url;

use crate::exec as sessions;

pub use authority::Authority;
pub use caches::Caches;
pub use database::Database;
pub use exec::Exec;
pub use health::Health;
pub use leadership::Leadership;
pub use placement::Placement;
pub use ports::{Agents, Users};
pub use retention::Retention;
pub use secrets::Secrets;
pub use transfers::{CarriageSection, CostSection, Transfers};

/// What the variables that override the file begin with.
pub const ENVIRONMENT_PREFIX: &str = "TOMBOLO_MASTER";

/// Where agents connect, unless the configuration says otherwise.
pub const DEFAULT_AGENT_PORT: u16 = 7443;

/// Where users connect, unless the configuration says otherwise.
pub const DEFAULT_USER_PORT: u16 = 8443;

/// The longest handover lease: for so long jobs wait for an agent that does not come back.
const HANDOVER_MAX: Duration = Duration::from_secs(60 * 60);

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The folder for all that the master keeps: CA, `admin.token`, and, if they are not elsewhere, database and sources. Made if it
    /// does not exist.
    pub data_folder: PathBuf,
    /// Where users see the master.
    #[serde(default = "default_public_url")]
    pub public_url: Url,
    /// The trust domain of the certificates. Fixed once the CA is made.
    #[serde(default = "default_trust_domain")]
    pub trust_domain: String,
    /// The port for agents.
    #[serde(default)]
    pub agents: Agents,
    /// The port for users.
    #[serde(default)]
    pub users: Users,
    /// Where the database is, if not in the data folder.
    #[serde(default)]
    pub database: Database,
    /// How masters of one installation take turns.
    #[serde(default)]
    pub leadership: Leadership,
    /// Where probes ask.
    #[serde(default)]
    pub health: Health,
    /// Where the CA comes from.
    #[serde(default)]
    pub authority: Authority,
    /// How agents are held on to, and when they are given up.
    #[serde(default)]
    pub leases: Leases,
    /// How much there may be.
    #[serde(default)]
    pub limits: Limits,
    /// How jobs come to clusters.
    #[serde(default)]
    pub placement: Placement,
    /// Sessions of users with running jobs.
    #[serde(default)]
    pub exec: Exec,
    /// What moving outputs between clusters costs.
    #[serde(default)]
    pub transfers: Transfers,
    /// What jobs leave for their next runs.
    #[serde(default)]
    pub caches: Caches,
    /// How the secrets of projects are kept.
    #[serde(default)]
    pub secrets: Secrets,
    /// How long outputs are kept.
    #[serde(default)]
    pub retention: Retention,
    /// Where the sources of builds are kept; the folder `sources` in the data folder if this is not given.
    #[serde(default)]
    pub sources: Option<StoreLocation>,
    /// What the process says of itself.
    #[serde(default)]
    pub telemetry: telemetry::Settings,
}

/// How agents are held on to, and when they are given up.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leases {
    /// How long an agent may act without hearing from the master.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often an agent renews its lease; at most a third of it.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// How long after the end of its lease a cluster's running attempts are given up and replaced elsewhere.
    #[serde(with = "humantime_serde")]
    pub lost_after: Duration,
    /// How long the commands of a cluster may go on while its agent is replaced; 0 if there is no such lease.
    #[serde(with = "humantime_serde")]
    pub handover: Duration,
    /// How often a job's attempt is replaced when the system lost it, before the job ends as `error`.
    pub max_replacements: u32,
}

impl Default for Leases {
    fn default() -> Self {
        let settings = control::Settings::default();
        Self {
            lease: settings.lease,
            heartbeat: settings.heartbeat,
            lost_after: settings.lost_after,
            handover: settings.handover,
            max_replacements: settings.max_replacements,
        }
    }
}

/// How much there may be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most jobs of one build.
    pub jobs_per_build: usize,
    /// The most indexes that the arrays of one build have together.
    pub indexes_per_build: usize,
    /// The most jobs of one build that its own jobs have made and that are not over. 0 lets none be made.
    pub generated_jobs: usize,
    /// The most builds that may run at once, over all projects.
    pub running_builds: usize,
    /// The most jobs that may be held in memory at once, over all builds; each takes less than 1 KiB.
    pub live_jobs: usize,
    /// The most invites that are made in a minute.
    pub invites_per_minute: NonZeroU32,
    /// The most clusters that try to join in a minute, with whatever invite.
    pub joins_per_minute: NonZeroU32,
}

/// Many more than people do, and few enough to cost nothing.
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(600).expect("it is not 0");

impl Default for Limits {
    fn default() -> Self {
        let settings = control::Settings::default();
        Self {
            jobs_per_build: settings.max_jobs_per_build,
            indexes_per_build: settings.max_indexes_per_build,
            generated_jobs: settings.max_generated_jobs,
            running_builds: settings.max_running_builds,
            live_jobs: settings.max_live_jobs,
            invites_per_minute: PER_MINUTE,
            joins_per_minute: PER_MINUTE,
        }
    }
}

fn default_public_url() -> Url {
    format!("https://localhost:{DEFAULT_USER_PORT}")
        .parse()
        .expect("a constant URL is valid")
}

fn default_trust_domain() -> String {
    DEFAULT_TRUST_DOMAIN.to_owned()
}

/// What was checked: values that the types of [`Configuration`] do not hold to.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The trust domain.
    pub domain: TrustDomain,
    /// Where users see the master, without a trailing slash.
    pub public_url: String,
    /// The host of the public URL; an IPv6 address in brackets.
    pub public_host: String,
    /// What moving outputs costs.
    pub costs: Costs,
}

impl Configuration {
    /// The configuration with nothing but a data folder.
    pub fn in_folder(data_folder: impl Into<PathBuf>) -> Self {
        Self {
            data_folder: data_folder.into(),
            public_url: default_public_url(),
            trust_domain: default_trust_domain(),
            agents: Agents::default(),
            users: Users::default(),
            database: Database::default(),
            leadership: Leadership::default(),
            health: Health::default(),
            authority: Authority::default(),
            leases: Leases::default(),
            limits: Limits::default(),
            placement: Placement::default(),
            exec: Exec::default(),
            transfers: Transfers::default(),
            caches: Caches::default(),
            secrets: Secrets::default(),
            retention: Retention::default(),
            sources: None,
            telemetry: telemetry::Settings::default(),
        }
    }

    /// Checks everything that the types alone do not hold.
    ///
    /// # Errors
    /// All settings that cannot be.
    pub fn validate(&self) -> Result<Checked, Faults> {
        let mut faults = Faults::default();
        if self.data_folder.as_os_str().is_empty() {
            faults.add("data_folder", "it is empty");
        }
        let domain = faults.take("trust_domain", TrustDomain::new(&self.trust_domain));
        let public_host = match (self.public_url.scheme(), self.public_url.host_str()) {
            ("https", Some(host)) => Some(host.to_owned()),
            _ => {
                faults.add("public_url", "it is not of the form `https://host[:port]`");
                None
            }
        };
        if self.public_url.query().is_some() || self.public_url.fragment().is_some() {
            faults.add("public_url", "it has a query or a fragment");
        }
        for address in &self.agents.addresses {
            faults.take("agents.addresses", Address::parse(address));
        }
        let (users, authority) = (&self.users, &self.authority);
        for (key, certificate, private) in [
            ("users.certificate_file", &users.certificate_file, &users.key_file),
            (
                "authority.certificate_file",
                &authority.certificate_file,
                &authority.key_file,
            ),
        ] {
            if certificate.is_some() != private.is_some() {
                faults.add(key, "certificate and key are given together or not at all");
            }
        }
        for fault in self.sources.iter().flat_map(StoreLocation::faults) {
            faults.add(format!("sources.{}", fault.key), fault.reason);
        }
        self.database.check(&mut faults);
        self.leadership.check(self, &mut faults);
        self.check_numbers(&mut faults);
        self.placement.check(&mut faults);
        let costs = self.transfers.check(&mut faults);
        self.caches.check(&mut faults);
        self.retention.check(&mut faults);
        let public_url = self.public_url.as_str().trim_end_matches('/').to_owned();
        faults.finish(domain.zip(public_host).map(|(domain, public_host)| Checked {
            domain,
            public_url,
            public_host,
            costs,
        }))
    }

    fn check_numbers(&self, faults: &mut Faults) {
        if self.exec.idle < Duration::from_secs(1) {
            faults.add("exec.idle", "it is shorter than 1 s");
        }
        let leases = &self.leases;
        if leases.heartbeat < Duration::from_millis(10) || leases.heartbeat * 3 > leases.lease {
            faults.add(
                "leases.heartbeat",
                "it is shorter than 10 ms, or three of it do not fit into one lease",
            );
        }
        if leases.handover > HANDOVER_MAX {
            faults.add("leases.handover", "it is longer than 1 h");
        }
        for (key, number) in [
            ("agents.connections", self.agents.connections),
            ("users.connections", self.users.connections),
            ("limits.jobs_per_build", self.limits.jobs_per_build),
            ("limits.indexes_per_build", self.limits.indexes_per_build),
            ("limits.running_builds", self.limits.running_builds),
            ("limits.live_jobs", self.limits.live_jobs),
            ("exec.sessions_per_build", self.exec.sessions_per_build),
        ] {
            if number == 0 {
                faults.add(key, "it is 0");
            }
        }
    }

    /// The settings of sessions with jobs.
    pub const fn exec_settings(&self) -> sessions::Settings {
        sessions::Settings {
            idle: self.exec.idle,
            sessions_per_build: self.exec.sessions_per_build,
        }
    }

    /// The settings of the control plane.
    pub fn control_settings(&self, checked: &Checked) -> control::Settings {
        control::Settings {
            unschedulable_after: self.placement.unschedulable_after(),
            keep_room_after: self.placement.keep_room_after,
            priority_step: self.placement.priority_step,
            prefetch: self.transfers.prefetch,
            costs: checked.costs.clone(),
            caches: self.caches.settings(),
            lease: self.leases.lease,
            heartbeat: self.leases.heartbeat,
            lost_after: self.leases.lost_after,
            handover: self.leases.handover,
            max_replacements: self.leases.max_replacements,
            max_jobs_per_build: self.limits.jobs_per_build,
            max_indexes_per_build: self.limits.indexes_per_build,
            max_generated_jobs: self.limits.generated_jobs,
            max_running_builds: self.limits.running_builds,
            max_live_jobs: self.limits.live_jobs,
            ..control::Settings::default()
        }
    }
}

#[cfg(test)]
mod tests;
