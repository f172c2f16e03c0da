//! Which artifacts are being read.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::authorize::Readable;

/// How long they are remembered at the most.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// How many artifacts are remembered; more are not protected.
const MAXIMUM: usize = 10_000;

#[derive(Default)]
pub(super) struct Recent {
    asked: Mutex<HashMap<Readable, Instant>>,
}

impl Recent {
    pub(super) fn note(&self, readable: Readable) {
        let mut asked = self.asked();
        let now = Instant::now();
        if asked.len() >= MAXIMUM {
            asked.retain(|_, at| now.duration_since(*at) < LONGEST);
        }
        if asked.len() < MAXIMUM || asked.contains_key(&readable) {
            asked.insert(readable, now);
        }
    }

    pub(super) fn has(&self, readable: Readable, within: Duration) -> bool {
        let asked = self.asked();
        asked
            .get(&readable)
            .is_some_and(|at| at.elapsed() < within.min(LONGEST))
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<Readable, Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::digest::Digest;
    use tombolo_core::id::ProjectId;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readers_are_remembered_for_a_while() {
        let readable = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Readable {
                project: ProjectId::from_u128(1),
                manifest: Digest::new(bytes),
            }
        };
        let recent = Recent::default();
        for number in 0..=MAXIMUM {
            recent.note(readable(number));
        }
        assert!(recent.has(readable(0), LONGEST) && !recent.has(readable(MAXIMUM), LONGEST));
        tokio::time::advance(LONGEST / 2).await;
        assert!(recent.has(readable(0), LONGEST) && !recent.has(readable(0), LONGEST / 2));
        tokio::time::advance(LONGEST / 2).await;
        recent.note(readable(MAXIMUM));
        assert!(recent.has(readable(MAXIMUM), LONGEST));
    }
}
