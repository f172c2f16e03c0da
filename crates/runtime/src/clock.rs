//! The two clocks of a process, read at the same moment.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Both kinds of time at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds since 1970 UTC by the calendar's clock, which may jump; 0 if that clock is before 1970.
    pub wall_milliseconds: u64,
    /// Time since some fixed point, by a clock that never jumps and (on Linux) goes on during suspend.
    pub steady: Duration,
}

/// What tells the time instead of the machine.
static STAND_IN: OnceLock<fn() -> Reading> = OnceLock::new();

/// There is a stand-in already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("something tells the time instead of the machine already")]
pub struct Taken;

/// Has this process take the time from `read`, for good: for one that is a simulation, and begins with this.
///
/// # Errors
/// If there is a stand-in already.
pub fn stand_in(read: fn() -> Reading) -> Result<(), Taken> {
    STAND_IN.set(read).map_err(|_| Taken)
}

/// Reads both clocks.
pub fn now() -> Reading {
    STAND_IN.get().map_or_else(machine, |read| read())
}

fn machine() -> Reading {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Reading {
        wall_milliseconds: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        steady: steady(),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const STEADY: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

fn steady() -> Duration {
    let time = rustix::time::clock_gettime(STEADY);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_time_passes_and_wall_time_is_plausible() {
        let first = now();
        std::thread::sleep(Duration::from_millis(5));
        let second = now();
        assert!(second.steady - first.steady >= Duration::from_millis(5));
        let year_2024 = 1_704_067_200_000;
        assert!(first.wall_milliseconds > year_2024);
    }
}
