//! How jobs come to clusters.

use std::time::Duration;

use serde::Deserialize;
use tombolo_core::control;
use tombolo_runtime::configuration::Faults;

/// The shortest time that may be set: less is a slip of the pen.
const SHORTEST: Duration = Duration::from_secs(1);

/// How jobs come to clusters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// How long a job waits that no cluster suits, connected or not, before it ends as `error`; `0s`: for ever.
    #[serde(with = "humantime_serde")]
    pub unschedulable_after: Duration,
    /// How long a job waits while others take all room that becomes free, before a cluster's room is kept for it.
    #[serde(with = "humantime_serde")]
    pub keep_room_after: Duration,
    /// What a point of a job's priority counts for: so much waiting.
    #[serde(with = "humantime_serde")]
    pub priority_step: Duration,
}

impl Default for Placement {
    fn default() -> Self {
        let settings = control::Settings::default();
        Self {
            unschedulable_after: settings.unschedulable_after.unwrap_or_default(),
            keep_room_after: settings.keep_room_after,
            priority_step: settings.priority_step,
        }
    }
}

impl Placement {
    pub(super) fn check(&self, faults: &mut Faults) {
        let after = self.unschedulable_after;
        if !after.is_zero() && after < SHORTEST {
            faults.add(
                "placement.unschedulable_after",
                "it is shorter than 1 s; `0s` is for ever",
            );
        }
        if self.priority_step < SHORTEST {
            faults.add("placement.priority_step", "it is shorter than 1 s");
        }
    }

    /// None if jobs wait for ever.
    pub(super) fn unschedulable_after(&self) -> Option<Duration> {
        Some(self.unschedulable_after).filter(|after| !after.is_zero())
    }
}
