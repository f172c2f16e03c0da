//! Copies that the master was told of, and may not have written yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Key;

/// How long a copy is kept here after the master was told of it: by then it has written that, or it asks again and is told again.
const KEPT_FOR: Duration = Duration::from_secs(10 * 60);

/// How many are kept, about 100 B each. A master has no more on their way at once from a hundred clusters.
const MOST: usize = 4096;

/// The copies. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<HashMap<Key, Instant>>>);

impl Told {
    /// The master is told of it now.
    pub(super) fn keep(&self, key: Key) {
        let mut told = self.lock();
        told.retain(|_, since| since.elapsed() < KEPT_FOR);
        if told.len() < MOST {
            told.insert(key, Instant::now());
        }
    }

    /// Whether the master was told of it a short while ago.
    pub(super) fn has(&self, key: Key) -> bool {
        self.lock().get(&key).is_some_and(|since| since.elapsed() < KEPT_FOR)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
