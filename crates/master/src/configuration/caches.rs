//! What jobs leave for their next runs.

use std::time::Duration;

use serde::Deserialize;
use tombolo_core::cache::{Limits, Policy, Settings};
use tombolo_runtime::configuration::Faults;

/// The most default branches that may be given: each assignment looks through them.
const DEFAULT_BRANCHES: usize = 16;

/// What jobs leave in their cache folders for their next runs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Caches {
    /// From which clusters a job may get a cache.
    pub policy: Policy,
    /// The branches whose caches serve other branches that have none yet, the best first.
    pub default_branches: Vec<String>,
    /// The bytes of the files of one cache. Larger ones are not kept, and the job's log says so.
    pub cache_bytes: u64,
    /// How long a cache is kept that nobody uses.
    #[serde(with = "humantime_serde")]
    pub unused: Duration,
    /// The bytes of all caches of a project. Those go first that nobody has used for longest.
    pub project_bytes: u64,
    /// How many caches a project has at the most, likewise.
    pub project_caches: usize,
}

impl Default for Caches {
    fn default() -> Self {
        let Settings {
            policy,
            default_branches,
            limits,
        } = Settings::default();
        Self {
            policy,
            default_branches,
            cache_bytes: limits.cache_bytes,
            unused: limits.unused,
            project_bytes: limits.project_bytes,
            project_caches: limits.project_caches,
        }
    }
}

impl Caches {
    /// The settings of the control plane.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            policy: self.policy,
            default_branches: self.default_branches.clone(),
            limits: Limits {
                cache_bytes: self.cache_bytes,
                unused: self.unused,
                project_bytes: self.project_bytes,
                project_caches: self.project_caches,
            },
        }
    }

    /// Checks what the types do not hold to.
    pub(super) fn check(&self, faults: &mut Faults) {
        if self.default_branches.len() > DEFAULT_BRANCHES {
            faults.add(
                "caches.default_branches",
                format!("there are more than {DEFAULT_BRANCHES}"),
            );
        }
        if self.default_branches.iter().any(String::is_empty) {
            faults.add("caches.default_branches", "one of them is empty");
        }
        if self.unused < Duration::from_secs(60) {
            faults.add("caches.unused", "it is shorter than 1 m");
        }
        if self.project_caches == 0 {
            faults.add("caches.project_caches", "it is 0");
        }
        if self.cache_bytes > self.project_bytes {
            faults.add("caches.cache_bytes", "it is more than `caches.project_bytes`");
        }
    }
}
