//! Time for the state machines, so that tests can bring their own.

use std::fmt::Debug;

use tombolo_core::time::{Moment, Now, Timestamp};

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Both kinds of time.
    fn now(&self) -> Now;
}

/// The machine's clocks: the calendar's, and one that never jumps and goes on during suspend.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let reading = tombolo_runtime::clock::now();
        Now {
            wall: Timestamp(reading.wall_milliseconds),
            steady: Moment(reading.steady),
        }
    }
}
