//! How long to wait before something is tried again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Pauses that double from the shortest to the longest and never end; some time is added to each by chance, so that many that
/// failed together do not come back together.
#[derive(Debug)]
pub(crate) struct Pauses {
    longest: Duration,
    builder: ExponentialBuilder,
    current: ExponentialBackoff,
}

impl Pauses {
    pub(crate) fn new((shortest, longest): (Duration, Duration)) -> Self {
        let builder = ExponentialBuilder::new()
            .with_jitter()
            .with_min_delay(shortest)
            .with_max_delay(longest)
            .without_max_times();
        Self {
            longest,
            builder,
            current: builder.build(),
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.current.next().unwrap_or(self.longest)
    }

    /// Begins with the shortest again: something has gone well.
    pub(crate) fn reset(&mut self) {
        self.current = self.builder.build();
    }
}
