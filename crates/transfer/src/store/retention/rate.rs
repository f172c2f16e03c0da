use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets so many requests through in a second.
pub(super) struct Rate {
    each: Duration,
    next: Mutex<Instant>,
}

impl Rate {
    pub(super) fn new(requests_per_second: u32) -> Self {
        Self {
            each: Duration::from_secs(1) / requests_per_second.max(1),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many requests are due.
    pub(super) async fn spend(&self, requests: u32) {
        let due = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let due = (*next).max(Instant::now());
            *next = due + self.each * requests;
            due
        };
        sleep_until(due).await;
    }
}
