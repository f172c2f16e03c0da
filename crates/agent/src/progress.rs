//! How far transfers are, for those who look.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tombolo_core::attempt::RouteKind;
use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::name::JobName;
use tombolo_transfer::pull::Progress;

use crate::seam::Notice;

/// The shortest time between two notices of how far a transfer is.
const PROGRESS_PAUSE: Duration = Duration::from_millis(200);

/// Tells how far a transfer is, now and then.
pub(crate) struct Teller<'notices> {
    recipient: Recipient,
    parent: Option<JobName>,
    notices: &'notices mpsc::Sender<Notice>,
    told: Mutex<Option<Instant>>,
}

impl<'notices> Teller<'notices> {
    /// Tells it of the output of `parent`; of the build's source if there is none.
    pub(crate) const fn new(
        recipient: Recipient,
        parent: Option<JobName>,
        notices: &'notices mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            recipient,
            parent,
            notices,
            told: Mutex::new(None),
        }
    }

    /// Tells it unless it has told something just now.
    pub(crate) fn tell(&self, progress: &Progress) {
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if told.is_none_or(|told| now - told >= PROGRESS_PAUSE) {
            *told = Some(now);
            self.tell_last(progress);
        }
    }

    /// Dropped where there is no room: it is only a picture of the moment.
    pub(crate) fn tell_last(&self, progress: &Progress) {
        let _ = self.notices.try_send(Notice::Transfer(TransferProgress {
            recipient: self.recipient,
            parent: self.parent.clone(),
            from: progress.from.clone(),
            route: progress.route,
            bytes: progress.bytes,
            done_bytes: progress.done_bytes,
            moved_bytes: progress.moved_bytes,
            milliseconds: u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
        }));
    }

    /// It will not come.
    pub(crate) fn give_up(&self) {
        self.tell_last(&Progress {
            bytes: 0,
            done_bytes: 0,
            moved_bytes: 0,
            route: RouteKind::Local,
            from: None,
            elapsed: Duration::ZERO,
        });
    }
}
