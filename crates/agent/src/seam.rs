//! What passes between the attempts (who run jobs) and the link (who speaks with the master).

use tombolo_core::attempt::{Assignment, Phase, Prefetch};
use tombolo_core::control::Copied;
use tombolo_core::control::event::TransferProgress;
use tombolo_core::id::AttemptId;
use tombolo_core::session::{StopReason, Survey};
use tombolo_core::volume::VolumeId;

use crate::link::Granted;

/// Notices that may wait for the link: it takes them at once unless it is busy writing a hello. Who has more waits.
pub const NOTICES_WAITING: usize = 256;
/// Instructions that may wait for the attempts. A full channel holds up the link, and with it the master's next orders: the
/// attempts must take an instruction without waiting for what it starts.
pub const INSTRUCTIONS_WAITING: usize = 256;

/// What the attempts tell the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// How far an attempt is. For `Accepted` and `Ended`: it is durable here.
    Progressed {
        /// Which attempt.
        attempt: AttemptId,
        /// How far.
        phase: Phase,
    },
    /// What was left of an attempt is removed.
    Forgotten(AttemptId),
    /// A volume is here; it is recorded.
    Holds(VolumeId),
    /// It is recorded that a volume is to be removed.
    Released(VolumeId),
    /// An input is on its way. May be dropped while there is no connection.
    Transfer(TransferProgress),
    /// What there is for jobs now.
    Surveyed(Box<Survey>),
    /// Why an attempt does not go on.
    Waits {
        /// Which attempt.
        attempt: AttemptId,
        /// In words; empty if nothing holds it up any more.
        reason: String,
    },
    /// How far a copy is that the master wants to know of. May be dropped while there is no connection.
    Copied(Copied),
}

/// What the link tells the attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Make it durable, say `Progressed` with `Accepted`, and run it.
    Start(Box<Assignment>),
    /// Stop it and say `Progressed` with `Ended`.
    Stop {
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        reason: StopReason,
    },
    /// Stop it if it runs, remove what is left of it, and say `Forgotten`, also if there was nothing.
    Forget(AttemptId),
    /// Commands may start until the end of this. Whoever was told before to stop or to be forgotten does not start with it: what is told goes one way,
    /// so that nothing overtakes.
    Lease(Granted),
    /// The command of this attempt, which ends with the lease, may start and go on until the end of this one.
    Hold {
        /// Which attempt.
        attempt: AttemptId,
        /// The lease.
        lease: Granted,
    },
    /// Record that the volume is to be removed and say `Released`; remove it when the attempts that use it are gone.
    Release(VolumeId),
    /// Bring this when there is nothing better to do.
    Prefetch(Box<Prefetch>),
}
