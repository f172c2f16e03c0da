//! The end of this process while what it has goes on: another one takes its place.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tombolo_core::session::agent::Session;
use tombolo_core::time::Moment;

/// How long the master's answer is waited for.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long supervisors have to hear of the handover lease: those in pods ask every three seconds at the most. Who does not hear of it in time stops sooner than it would
/// have to.
const TELL: Duration = Duration::from_secs(4);

/// Between two looks whether there is anything to wait for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What whoever ends the process and the link tell each other. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Leave {
    /// Cancelled when the process is to end.
    pub asked: CancellationToken,
    /// Cancelled by the link when nothing more is to be waited for.
    pub done: CancellationToken,
}

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    leave: Leave,
    /// When the master was asked first.
    since: Option<Moment>,
    /// When it was found to have granted the lease.
    granted_at: Option<Moment>,
}

impl Leaving {
    pub(super) fn when(leave: Leave) -> Self {
        Self {
            leave,
            ..Self::default()
        }
    }

    /// Returns when the master is to be asked, at first and again.
    pub(super) async fn due(&self) {
        match self.since {
            None => self.leave.asked.cancelled().await,
            Some(_) => sleep(LOOK_AGAIN).await,
        }
    }

    /// The master is being asked, at first or again.
    pub(super) fn begin(&mut self, now: Moment) {
        self.since.get_or_insert(now);
    }

    /// Looks whether there is anything left to wait for. `all_told`: the attempts have heard all that the session has said.
    pub(super) fn look(&mut self, session: &Session, all_told: bool, now: Moment) {
        let Some(since) = self.since else { return };
        let waits = if session.awaits_handover() {
            now.since(since) < ANSWER_MAX
        } else if session.holds_handover() {
            let granted_at = *self.granted_at.get_or_insert(now);
            !all_told || now.since(granted_at) < TELL
        } else {
            false
        };
        if !waits {
            self.leave.done.cancel();
        }
    }
}
