//! For how long a master may act as the leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tombolo_core::time::Moment;

use crate::clock::Clock;

/// For how long a master may act as the leader. Cheap to clone and to ask: it is asked before each act.
///
/// It needs nobody to notice that its time is over: a process that stood still finds that out with the next question.
#[derive(Debug, Clone)]
pub struct Tenure {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    /// Nanoseconds of the steady clock.
    until: AtomicU64,
}

impl Tenure {
    /// Of a master that is the only one.
    pub fn unlimited(clock: Arc<dyn Clock>) -> Self {
        Self::ending(clock, u64::MAX)
    }

    /// Until a moment, unless it is extended.
    pub fn until(clock: Arc<dyn Clock>, until: Moment) -> Self {
        Self::ending(clock, nanoseconds(until))
    }

    fn ending(clock: Arc<dyn Clock>, until: u64) -> Self {
        let until = AtomicU64::new(until);
        Self {
            inner: Arc::new(Inner { clock, until }),
        }
    }

    /// Whether the master may act.
    pub fn holds(&self) -> bool {
        nanoseconds(self.inner.clock.now().steady) < self.inner.until.load(Ordering::Acquire)
    }

    /// Lasts until a later moment. What was ended stays so.
    pub fn extend(&self, until: Moment) {
        let later = |present| (present != 0).then_some(nanoseconds(until).max(present));
        // Ended: there is nothing to extend.
        let _ = self
            .inner
            .until
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Ends it now.
    pub fn end(&self) {
        self.inner.until.store(0, Ordering::Release);
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.0.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::clock::SystemClock;

    use super::*;

    #[test]
    fn it_ends_by_itself_and_is_extended_only_before_that() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let now = clock.now().steady;
        let tenure = Tenure::until(clock.clone(), now + Duration::from_millis(50));
        let seen = tenure.clone();
        assert!(seen.holds());
        tenure.extend(now + Duration::from_millis(100));
        std::thread::sleep(Duration::from_millis(120));
        assert!(!seen.holds());
        let tenure = Tenure::unlimited(clock);
        tenure.end();
        tenure.extend(now + Duration::from_secs(60));
        assert!(!tenure.holds());
    }
}
