//! How long the outputs of builds are kept.

use std::time::Duration;

use serde::Deserialize;
use tombolo_core::retention::Policy;
use tombolo_runtime::configuration::Faults;

/// Looking reads the builds of all projects.
const LEAST_EVERY: Duration = Duration::from_secs(1);

/// What is kept of projects that say nothing of it themselves. Without limits: everything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// The outputs of so many builds.
    pub builds: Option<u32>,
    /// Outputs for so many days after the end of their build.
    pub days: Option<u32>,
    /// So many bytes of outputs of a project.
    pub bytes: Option<u64>,
    /// How often it is looked what goes. Clusters sweep their stores when it suits them.
    #[serde(with = "humantime_serde")]
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            builds: None,
            days: None,
            bytes: None,
            every: Duration::from_secs(60 * 60),
        }
    }
}

impl Retention {
    /// Checks what the types do not hold to.
    pub(super) fn check(&self, faults: &mut Faults) {
        for limit in self.policy().limits_of_nothing() {
            let reason = "it is 0, and all outputs would go: give 1 or more, or leave it out for no such limit";
            faults.add(format!("retention.{limit}"), reason);
        }
        if self.every < LEAST_EVERY {
            faults.add("retention.every", "it is shorter than 1 s");
        }
    }

    /// What is kept of projects that say nothing of it themselves.
    pub const fn policy(&self) -> Policy {
        Policy {
            builds: self.builds,
            days: self.days,
            bytes: self.bytes,
        }
    }
}
