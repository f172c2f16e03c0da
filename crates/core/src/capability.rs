//! What executors can do beyond running a command, and what jobs ask for of that.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Something that an executor can do and another cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Runs the job's image. Without it, commands run on the agent's own system.
    Images,
    /// Runs other commands beside those of running jobs, in sessions that users open.
    Exec,
    /// Keeps volumes for jobs.
    Volumes,
    /// Builds an image from a file: jobs of the type `docker`.
    Docker,
    /// Runs a compose file: jobs of the type `docker-compose`.
    DockerCompose,
    /// Runs services beside a job.
    Services,
    /// Pushes images to registries after a job.
    Deployments,
    /// Pulls images with credentials that the job file names.
    Registries,
    /// Gives a job all rights on its node.
    Privileged,
    /// Gives a job values that the project keeps secret.
    Secrets,
    /// Clones a repository for a job of the type `git`.
    Git,
    /// Gives a job values out of a vault.
    Vault,
    /// Stops a command when the cluster's lease ends, also if the agent is gone by then.
    Exclusive,
}

impl Capability {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Images,
        Self::Exec,
        Self::Volumes,
        Self::Docker,
        Self::DockerCompose,
        Self::Services,
        Self::Deployments,
        Self::Registries,
        Self::Privileged,
        Self::Secrets,
        Self::Git,
        Self::Vault,
        Self::Exclusive,
    ];

    /// The name, as job files have it where it is a type or field there.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Exec => "exec",
            Self::Volumes => "volumes",
            Self::Docker => "docker",
            Self::DockerCompose => "docker-compose",
            Self::Services => "services",
            Self::Deployments => "deployments",
            Self::Registries => "registries",
            Self::Privileged => "privileged",
            Self::Secrets => "secrets",
            Self::Git => "git",
            Self::Vault => "vault",
            Self::Exclusive => "exclusive",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// A set of capabilities. Written as the list of their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Capability>", into = "Vec<Capability>")]
pub struct CapabilitySet(u16);

impl CapabilitySet {
    /// Nothing.
    pub const EMPTY: Self = Self(0);

    /// Whether there is none in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `capability` is in the set.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u16) != 0
    }

    /// Puts one in.
    pub const fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability as u16;
    }

    /// Those that are in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in one of the two.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The capabilities in the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL
            .into_iter()
            .filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<T: IntoIterator<Item = Capability>>(capabilities: T) -> Self {
        let mut set = Self::default();
        capabilities.into_iter().for_each(|capability| set.insert(capability));
        set
    }
}

impl From<Vec<Capability>> for CapabilitySet {
    fn from(capabilities: Vec<Capability>) -> Self {
        capabilities.into_iter().collect()
    }
}

impl From<CapabilitySet> for Vec<Capability> {
    fn from(set: CapabilitySet) -> Self {
        set.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_written_as_the_names_of_what_is_in_it() {
        let mut set = CapabilitySet::EMPTY;
        assert!(set.is_empty());
        set.insert(Capability::Git);
        set.insert(Capability::DockerCompose);
        let text = serde_json::to_string(&set).unwrap();
        assert_eq!(text, r#"["docker_compose","git"]"#);
        assert_eq!(serde_json::from_str::<CapabilitySet>(&text).unwrap(), set);
        let all: CapabilitySet = Capability::ALL.into_iter().collect();
        assert_eq!(all.iter().count(), Capability::ALL.len());
        assert_eq!(all.without(set).union(set), all);
        assert!(set.without(all).is_empty());
    }
}
