//! What a master needs that is one of several.

use std::time::Duration;

use serde::Deserialize;
use tombolo_identity::transport::Address;
use tombolo_runtime::configuration::Faults;
use tombolo_store::postgres::Addresses;

use super::Configuration;

/// The shortest lease: six renewals of a database that is now and then slow.
const LEASE_MIN: Duration = Duration::from_secs(1);

/// The longest one: longer than that nobody wants to be without a master.
const LEASE_MAX: Duration = Duration::from_secs(60);

/// How masters of one installation take turns. Without addresses this one is the only master.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leadership {
    /// Where the other masters reach this one's port for agents: `host:port`.
    pub agents: Option<String>,
    /// Where they reach its port for users: `host:port`.
    pub users: Option<String>,
    /// How long a master leads without the database's word that it does. So long the others wait when it is gone.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
}

impl Default for Leadership {
    fn default() -> Self {
        Self {
            agents: None,
            users: None,
            lease: Duration::from_secs(3),
        }
    }
}

impl Leadership {
    /// Where the others reach this master; none if it is the only one.
    pub fn addresses(&self) -> Option<Addresses> {
        Some(Addresses {
            agents: self.agents.clone()?,
            users: self.users.clone()?,
        })
    }

    /// Checks what the types do not hold to: also that what masters must have in common is not made by each of them.
    pub(super) fn check(&self, whole: &Configuration, faults: &mut Faults) {
        if self.lease < LEASE_MIN || self.lease > LEASE_MAX {
            faults.add("leadership.lease", "it is not between 1 s and 60 s");
        }
        if self.agents.is_none() && self.users.is_none() {
            return;
        }
        for (key, address) in [("leadership.agents", &self.agents), ("leadership.users", &self.users)] {
            match address {
                Some(address) => drop(faults.take(key, Address::parse(address))),
                None => faults.add(key, "both addresses are given or none"),
            }
        }
        let shared = "several masters must have the same";
        for (key, is_given, what) in [
            (
                "database.url",
                whole.database.url.is_some(),
                "a file serves one master only",
            ),
            (
                "authority.certificate_file",
                whole.authority.certificate_file.is_some(),
                shared,
            ),
            (
                "authority.grant_key_file",
                whole.authority.grant_key_file.is_some(),
                shared,
            ),
            ("secrets.key_file", whole.secrets.key_file.is_some(), shared),
            (
                "sources",
                whole.sources.is_some(),
                "sources in the data folder are seen by one master only; give a bucket, or a folder that all masters have",
            ),
        ] {
            if !is_given {
                faults.add(key, format!("it is needed with `leadership.agents`: {what}"));
            }
        }
    }
}
