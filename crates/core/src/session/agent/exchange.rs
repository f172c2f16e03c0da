//! What the session and its driver say to each other.

use std::time::Duration;

use super::super::{AgentFrame, Error, MasterFrame, StopReason, Survey};
use crate::attempt::{Assignment, Phase, Prefetch};
use crate::control::Copied;
use crate::control::event::TransferProgress;
use crate::id::{AttemptId, TunnelId};
use crate::time::Moment;
use crate::volume::VolumeId;

/// What the driver tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// A connection to the master stands. All frames from now on are of this connection.
    Connected,
    /// The connection is gone.
    Disconnected,
    /// The master says something.
    Frame(MasterFrame),
    /// The executor says how far an attempt is. For `Accepted` and `Ended`: it is durable here.
    Progressed {
        /// Which attempt.
        attempt: AttemptId,
        /// How far.
        phase: Phase,
    },
    /// The executor has removed what was left of an attempt.
    Forgotten(AttemptId),
    /// A volume is here; it is recorded.
    Holds(VolumeId),
    /// It is recorded that a volume is to be removed (also if it is not here).
    Released(VolumeId),
    /// An input is on its way.
    Transfer(TransferProgress),
    /// The executor has looked what there is for jobs.
    Surveyed(Box<Survey>),
    /// The executor says why an attempt does not go on.
    Waits {
        /// Which attempt.
        attempt: AttemptId,
        /// In words; empty if nothing holds it up any more.
        reason: String,
    },
    /// This process is about to end, and another one takes its place: what runs is to go on meanwhile.
    HandOver,
    /// How far an output is that was to be brought, and to be told of.
    Copied(Copied),
    /// The deadline has come.
    Tick,
}

/// What the driver is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this on the present connection.
    Send(AgentFrame),
    /// Make it durable, say `Progressed` with `Accepted`, and run it. The command starts only while the lease is valid.
    Start(Box<Assignment>),
    /// Stop it and say `Progressed` with `Ended`. It may be one that was started a moment ago. If its command has not begun,
    /// it must not begin any more, also if the lease becomes valid by the same event.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// Why.
        reason: StopReason,
    },
    /// Stop it if it runs, remove what is left of it, and say `Forgotten` (also if there was nothing). If its command has
    /// not begun, it must not begin any more, also if the lease becomes valid by the same event.
    Forget(AttemptId),
    /// The command of this attempt ends with the lease: it may start, and go on, until then. Nothing of it may be left at that time, unless a later one
    /// was told.
    Hold {
        /// Which attempt.
        attempt: AttemptId,
        /// The end of the lease.
        until: Moment,
        /// How long it lasted when it was asked for.
        length: Duration,
    },
    /// Record that the volume is to be removed and say `Released`; remove it when the attempts that use it are gone.
    Release(VolumeId),
    /// Bring this when there is nothing better to do.
    Prefetch(Box<Prefetch>),
    /// Dial the master's bulk port and accept this tunnel.
    AcceptTunnel(TunnelId),
    /// Drop the connection (no `Disconnected` needed) and connect again after a pause.
    Close(Error),
}
