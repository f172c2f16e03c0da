//! How often something may happen.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Lets things happen so many times a minute, all of them at once if none did before. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Pace {
    limiter: Arc<DefaultDirectRateLimiter>,
    per_minute: NonZeroU32,
}

/// It happens too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{per_minute} a minute are taken by this master; try again in {} s", .wait.as_secs() + 1)]
pub struct TooOften {
    per_minute: NonZeroU32,
    wait: Duration,
}

impl Pace {
    /// So many times a minute.
    pub fn per_minute(per_minute: NonZeroU32) -> Self {
        let limiter = Arc::new(RateLimiter::direct(Quota::per_minute(per_minute)));
        Self { limiter, per_minute }
    }

    /// It is about to happen.
    ///
    /// # Errors
    /// If it has happened too often of late. Then it does not count.
    pub fn take(&self) -> Result<(), TooOften> {
        self.limiter.check().map_err(|early| TooOften {
            per_minute: self.per_minute,
            wait: early.wait_time_from(DefaultClock::default().now()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_too_often_is_told_when_to_come_again() {
        let pace = Pace::per_minute(NonZeroU32::new(2).unwrap());
        let clone = pace.clone();
        assert_eq!((pace.take(), clone.take()), (Ok(()), Ok(())));
        let refused = pace.take().unwrap_err();
        assert!((20..=30).contains(&refused.wait.as_secs()), "{refused:?}");
        assert!(
            refused
                .to_string()
                .starts_with("2 a minute are taken by this master; try again in "),
            "{refused}"
        );
    }
}
