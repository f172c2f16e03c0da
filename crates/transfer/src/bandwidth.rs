//! A limit on what crosses a link, shared by all that use it.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Bytes per second that all holders of clones have together. Whoever wants to send reserves the time that its bytes take, after all
/// that was reserved before (virtual scheduling, as in ITU-T I.371, without a burst): nobody overtakes, and what was not used
/// in the past is gone.
#[derive(Debug, Clone, Default)]
pub struct Bandwidth(Option<Arc<Limit>>);

#[derive(Debug)]
struct Limit {
    bytes_per_second: NonZeroU64,
    /// When all that was reserved has gone; none before the first.
    free_at: Mutex<Option<Instant>>,
}

impl Bandwidth {
    /// So many bytes per second; without a limit if none.
    pub fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        let limit = |bytes_per_second| {
            Arc::new(Limit {
                bytes_per_second,
                free_at: Mutex::default(),
            })
        };
        Self(bytes_per_second.map(limit))
    }

    /// Waits for the turn of so many bytes. Whoever does not wait to the end has reserved nothing.
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        let Some(limit) = &self.0 else {
            return Reserved(None);
        };
        let turn = limit.begin(bytes);
        let reserved = Reserved(Some((Arc::clone(limit), bytes)));
        sleep_until(turn).await;
        reserved
    }
}

/// The right to send so many bytes now. What was not used of it is given back in the end.
#[derive(Debug)]
#[must_use = "it is given back when it is dropped"]
pub struct Reserved(Option<(Arc<Limit>, u64)>);

impl Reserved {
    /// Says how many bytes were sent.
    pub fn used(mut self, bytes: u64) {
        if let Some((_, left)) = &mut self.0 {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some((limit, left)) = &self.0 {
            limit.give_back(*left);
        }
    }
}

impl Limit {
    /// Reserves the next time that is free, and says when it begins.
    fn begin(&self, bytes: u64) -> Instant {
        let now = Instant::now();
        let mut free_at = self.free_at();
        let turn = free_at.map_or(now, |free_at| free_at.max(now));
        *free_at = Some(turn + self.time(bytes));
        turn
    }

    fn give_back(&self, bytes: u64) {
        let mut free_at = self.free_at();
        *free_at = free_at.and_then(|free_at| free_at.checked_sub(self.time(bytes)));
    }

    /// How long so many bytes take.
    fn time(&self, bytes: u64) -> Duration {
        const NANOSECONDS: u128 = 1_000_000_000;
        let nanoseconds = u128::from(bytes) * NANOSECONDS / u128::from(self.bytes_per_second.get());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    fn free_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.free_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn limited(mebibytes: u64) -> Bandwidth {
        Bandwidth::new(NonZeroU64::new(mebibytes * MIB))
    }

    #[tokio::test(start_paused = true)]
    async fn what_all_send_together_keeps_to_the_limit() {
        let bandwidth = limited(2);
        let began = Instant::now();
        let senders = (0..8).map(|_| {
            let bandwidth = bandwidth.clone();
            async move {
                for _ in 0..5 {
                    bandwidth.reserve(MIB).await.used(MIB);
                }
            }
        });
        join_all(senders).await;
        // The last of 40 begins when the 39 before it have gone.
        assert_eq!(began.elapsed().as_millis(), 39_000 / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_is_there_for_others_and_the_past_is_not() {
        let bandwidth = limited(1);
        let began = Instant::now();
        bandwidth.reserve(10 * MIB).await.used(MIB);
        drop(bandwidth.reserve(100 * MIB).await);
        let given_up = tokio::time::timeout(Duration::from_millis(100), async {
            bandwidth.reserve(5 * MIB).await.used(5 * MIB);
            bandwidth.reserve(MIB).await.used(MIB);
        });
        assert!(given_up.await.is_err(), "the second had to wait for the first");
        assert_eq!(began.elapsed().as_millis(), 1_100);
        bandwidth.reserve(MIB).await.used(MIB);
        assert_eq!(
            began.elapsed().as_millis(),
            6_000,
            "five went, what was given up did not"
        );
        tokio::time::sleep(Duration::from_secs(60)).await;
        let again = Instant::now();
        for _ in 0..3 {
            bandwidth.reserve(MIB).await.used(MIB);
        }
        assert_eq!(again.elapsed().as_millis(), 2_000, "a minute of silence is no credit");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_waits() {
        let began = Instant::now();
        Bandwidth::default().reserve(u64::MAX).await.used(1);
        Bandwidth::new(None).reserve(u64::MAX).await.used(u64::MAX);
        let _ = limited(1).reserve(u64::MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
