//! Two kinds of time, both given from outside: the calendar's for people, a steady one for leases and timeouts.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Calendar time, in milliseconds since 1970 UTC. It may jump; only people and records read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A point on a clock of this process that never jumps and goes on during suspend. Not comparable between processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl Moment {
    /// The time that has passed since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// Both kinds of time at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// For records.
    pub wall: Timestamp,
    /// For leases and timeouts.
    pub steady: Moment,
}
