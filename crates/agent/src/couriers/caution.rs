//! What pods have said of the way to the store, so that not each of them has to find out by itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After how many pods in a row that cannot use the store no other is asked to try.
const PODS_IN_A_ROW: u32 = 3;
/// Until the next one tries.
const PAUSE: Duration = Duration::from_secs(10 * 60);

/// Whether pods are to try the store.
#[derive(Default)]
pub(super) struct Caution {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    in_a_row: u32,
    until: Option<Instant>,
}

impl Caution {
    /// Whether a pod that begins is to try.
    pub(super) fn allows(&self) -> bool {
        self.seen().until.is_none_or(|until| Instant::now() >= until)
    }

    /// A pod has used the store.
    pub(super) fn succeeded(&self) {
        *self.seen() = Seen::default();
    }

    /// A pod could not use the store.
    pub(super) fn failed(&self) {
        let mut seen = self.seen();
        seen.in_a_row += 1;
        if seen.in_a_row >= PODS_IN_A_ROW {
            if seen.until.is_none() {
                let minutes = PAUSE.as_secs() / 60;
                tracing::warn!(
                    minutes,
                    "no pod could use the store directly of late: for a while none is asked to try"
                );
            }
            seen.until = Some(Instant::now() + PAUSE);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn some_fail_before_all_wait_and_one_success_is_enough() {
        let caution = Caution::default();
        for _ in 0..PODS_IN_A_ROW - 1 {
            caution.failed();
        }
        caution.succeeded();
        for _ in 0..PODS_IN_A_ROW {
            assert!(caution.allows());
            caution.failed();
        }
        assert!(!caution.allows());
        tokio::time::advance(PAUSE).await;
        assert!(caution.allows());
        caution.failed();
        assert!(!caution.allows(), "one that fails again is enough");
        caution.succeeded();
        assert!(caution.allows());
    }
}
