//! Virtual time: what is to happen, and when.

use std::collections::BTreeMap;
use std::time::Duration;

/// Things to happen, in the order of their times, and of their making for equal times.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    now: Duration,
    made: u64,
    /// Boxed, since the tree moves them about, and some are large.
    items: BTreeMap<(Duration, u64), Box<T>>,
}

impl<T> Schedule<T> {
    pub(crate) const fn new() -> Self {
        Self {
            now: Duration::ZERO,
            made: 0,
            items: BTreeMap::new(),
        }
    }

    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn after(&mut self, delay: Duration, item: T) {
        self.at(self.now + delay, item);
    }

    pub(crate) fn at(&mut self, time: Duration, item: T) {
        self.made += 1;
        self.items.insert((time.max(self.now), self.made), Box::new(item));
    }

    /// Goes on to the next thing.
    pub(crate) fn next(&mut self) -> Option<T> {
        let ((time, _), item) = self.items.pop_first()?;
        self.now = time;
        Some(*item)
    }
}
