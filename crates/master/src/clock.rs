//! Time for the state machines, so that tests can bring their own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use tombolo_core::time::{Moment, Now, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Both kinds of time.
    fn now(&self) -> Now;
}

/// The machine's clocks: the calendar's, and one that never jumps and goes on during suspend.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall: Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)),
            steady: steady(),
        }
    }
}

fn steady() -> Moment {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Moment(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_on() {
        let before = SystemClock.now();
        let after = SystemClock.now();
        assert!(before.wall.0 > 1_700_000_000_000 && after.steady >= before.steady && before.steady.0 > Duration::ZERO);
    }
}
