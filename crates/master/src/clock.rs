//! Time for the state machines, so that tests can bring their own.

use std::fmt::Debug;

use tombolo_core::time::{Moment, Now, Timestamp};
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Both kinds of time.
    fn now(&self) -> Now;
}

/// A new id, of UUID's version 7: later ones sort after earlier ones, which keeps the database's indexes compact.
pub(crate) fn fresh_id(clock: &dyn Clock) -> Uuid {
    let random: [u8; 10] = rand::random();
    uuid::Builder::from_unix_timestamp_millis(clock.now().wall.0, &random).into_uuid()
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
