//! Whether, how often and when a job runs again after an attempt of it went wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{StateSet, TerminalState};

/// When a job runs again whose attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many attempts may follow the first.
    pub count: u32,
    /// The ends that another attempt may follow.
    pub states: StateSet,
    /// How long to wait before each of them.
    pub backoff: Backoff,
}

impl Retry {
    /// The most attempts that may follow the first: what they came to is kept with the job.
    pub const MAX_COUNT: u32 = 10;

    /// The ends that another attempt may follow at all: all others are nobody's fault, or somebody's will.
    pub const STATES: [TerminalState; 3] = [TerminalState::Failure, TerminalState::Error, TerminalState::Unstable];

    /// What counts if nothing else is said.
    pub fn default_states() -> StateSet {
        StateSet::of(&[TerminalState::Failure, TerminalState::Error])
    }
}

/// How long to wait before another attempt: ever longer, up to a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Before the second attempt.
    pub initial: Duration,
    /// What the wait is multiplied by each time, in hundredths; 100 or more.
    pub factor_percent: u32,
    /// The longest wait.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(10),
            factor_percent: 200,
            max: Duration::from_secs(5 * 60),
        }
    }
}

impl Backoff {
    /// How long to wait after so many attempts that another one followed already.
    pub fn pause(&self, followed: u32) -> Duration {
        let mut milliseconds = self.initial.as_millis();
        let most = self.max.as_millis();
        for _ in 0..followed.min(Retry::MAX_COUNT) {
            milliseconds = (milliseconds * u128::from(self.factor_percent.max(100)) / 100).min(most);
        }
        Duration::from_millis(u64::try_from(milliseconds.min(most)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_bound() {
        let backoff = |initial, factor_percent, max| Backoff {
            initial: Duration::from_secs(initial),
            factor_percent,
            max: Duration::from_secs(max),
        };
        for (backoff, expected) in [
            (Backoff::default(), [10_000, 20_000, 40_000, 80_000, 160_000, 300_000]),
            (backoff(1, 100, 60), [1000; 6]),
            (backoff(4, 150, 10), [4000, 6000, 9000, 10_000, 10_000, 10_000]),
            (backoff(0, 200, 10), [0; 6]),
            (backoff(20, 200, 10), [10_000; 6]),
            // What is stored is not trusted to be sensible.
            (
                backoff(u64::MAX, u32::MAX, u64::MAX / 1000),
                [u64::MAX / 1000 * 1000; 6],
            ),
        ] {
            let pauses: Vec<u128> = (0..6).map(|followed| backoff.pause(followed).as_millis()).collect();
            assert_eq!(pauses, expected.map(u128::from), "{backoff:?}");
        }
    }
}
