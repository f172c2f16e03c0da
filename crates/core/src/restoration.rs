//! A control plane that went back in time: its database was taken from a backup.
//!
//! Between the backup and its loss, the master that was lost gave out attempts, leases and numbers that the backup does not know. None of
//! them may be given again: an attempt of then would be taken for one of now. So what counts up goes on from the time of the restoration,
//! which is higher than any count from before; and for as long as a lease of then can last, nothing is done at all.

use std::time::Duration;

use crate::id::Epoch;
use crate::time::Timestamp;

/// How long after a restoration a master still waits for the leases of the one that was lost. Much longer than a lease, since the clock of
/// the machine that starts may be ahead of the clock of the one that restored.
const IS_RECENT: Duration = Duration::from_secs(60 * 60);

/// When a control plane was taken from a backup. The master before had ended by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Restoration {
    /// By the clock of the machine that did it.
    pub at: Timestamp,
}

impl Restoration {
    /// The lowest epoch of the attempts that begin from then on: the seconds since 1970. A job has fewer attempts than seconds pass, so that
    /// no attempt from before the restoration, or from before an earlier one, has it.
    pub fn lowest_epoch(self) -> Epoch {
        Epoch(u32::try_from(self.at.0 / 1000).unwrap_or(u32::MAX / 2))
    }

    /// How long a master that starts at `now` waits before it does anything: until the longest lease that the one before can have given is
    /// over, counted from this start. None if the restoration was long ago.
    pub fn pause(self, now: Timestamp, lease: Duration) -> Option<Duration> {
        let recent = u64::try_from(IS_RECENT.as_millis()).unwrap_or(u64::MAX);
        (now.0 < self.at.0.saturating_add(recent)).then_some(lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_go_on_beyond_all_that_were_given() {
        let first = Restoration {
            at: Timestamp(1_793_371_234_567),
        };
        assert_eq!(first.lowest_epoch(), Epoch(1_793_371_234));
        let later = Restoration {
            at: Timestamp(1_793_371_299_000),
        };
        assert!(later.lowest_epoch() > first.lowest_epoch().next());
    }

    #[test]
    fn leases_are_waited_for_soon_after_it_whichever_way_the_clocks_differ() {
        let restored = Restoration {
            at: Timestamp(10_000_000),
        };
        let lease = Duration::from_secs(30);
        for (now, expected) in [
            (0, Some(lease)),
            (10_000_000, Some(lease)),
            (13_599_999, Some(lease)),
            (13_600_000, None),
        ] {
            assert_eq!(restored.pause(Timestamp(now), lease), expected, "{now}");
        }
    }
}
