//! The handover lease: what runs goes on while one process of the agent takes the place of another.
//!
//! It is a lease of commands alone, those that end with a lease: what has not begun begins under an ordinary one.

use std::time::Duration;

use crate::session::Error;
use crate::time::Moment;

/// Where it stands, on the present connection.
#[derive(Debug, Default)]
pub(super) enum Handover {
    /// Nobody has asked.
    #[default]
    None,
    /// First asked for then, for so long.
    Asked(Moment, Duration),
    /// Granted: until when, and for how long.
    Granted(Moment, Duration),
}

impl Handover {
    /// Asks for it, or again. Whether there is anything to ask for.
    pub(super) fn ask(&mut self, now: Moment, length: Duration) -> bool {
        match self {
            Self::None if !length.is_zero() => {
                *self = Self::Asked(now, length);
                true
            }
            Self::Asked(..) => true,
            Self::None | Self::Granted(..) => false,
        }
    }

    /// The master has granted it.
    pub(super) fn granted_now(&mut self) -> Result<(), Error> {
        match *self {
            Self::Asked(at, length) => *self = Self::Granted(at + length, length),
            Self::Granted(..) => {}
            Self::None => {
                return Err(Error::Unexpected {
                    frame: "handed over",
                    why: "it was not asked for",
                });
            }
        }
        Ok(())
    }

    /// Its end and its length.
    pub(super) const fn granted(&self) -> Option<(Moment, Duration)> {
        match self {
            Self::Granted(until, length) => Some((*until, *length)),
            Self::None | Self::Asked(..) => None,
        }
    }

    pub(super) const fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(..))
    }

    /// The connection is gone, and with it what was asked for. What was granted before, commands have been told.
    pub(super) fn disconnected(&mut self) {
        *self = Self::None;
    }
}
