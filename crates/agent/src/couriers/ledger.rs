//! What was signed for one attempt, and what came of it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tombolo_core::digest::Digest;
use tombolo_core::id::AttemptId;

/// How long a signed request lives: longer than a courier tries to carry it out, and clocks may differ.
pub(super) const LIFE: Duration = Duration::from_secs(5 * 60);
/// Uploads that are signed and neither confirmed nor past their time. A courier has a few under way.
const LIVE_UPLOADS: usize = 32;

/// The signed requests of one attempt. It is not kept beyond the agent's own life: what was signed by the agent before ends by
/// itself, and what it has written is seen when the manifest comes.
#[derive(Default)]
pub(super) struct Ledger {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    live: HashMap<Digest, Live>,
    /// The pod cannot use the store.
    renounced: bool,
    figures: Figures,
}

struct Live {
    bytes: u64,
    until: Instant,
}

/// What went straight to the store and came from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Chunks that the pod has written.
    pub(super) uploads: u64,
    /// Their length as stored.
    pub(super) uploaded_bytes: u64,
    /// Chunks that the pod was let read.
    pub(super) downloads: u64,
}

impl Ledger {
    /// Enters an upload that is to be signed, if it may be.
    pub(super) fn enter(&self, digest: Digest, bytes: u64) -> bool {
        let mut entries = self.entries();
        let now = Instant::now();
        entries.live.retain(|_, live| live.until > now);
        let is_full = entries.live.len() >= LIVE_UPLOADS && !entries.live.contains_key(&digest);
        if entries.renounced || is_full {
            return false;
        }
        let until = now + LIFE;
        entries.live.insert(digest, Live { bytes, until });
        true
    }

    /// The length that the upload was signed with, if it was.
    pub(super) fn signed(&self, digest: Digest) -> Option<u64> {
        self.entries().live.get(&digest).map(|live| live.bytes)
    }

    /// All that are signed and not confirmed, with their lengths.
    pub(super) fn open(&self) -> Vec<(Digest, u64)> {
        let entries = self.entries();
        entries
            .live
            .iter()
            .map(|(digest, live)| (*digest, live.bytes))
            .collect()
    }

    /// Takes an upload out: it is there, or will not be.
    pub(super) fn close(&self, digest: Digest, stored: bool) {
        let mut entries = self.entries();
        if let (Some(live), true) = (entries.live.remove(&digest), stored) {
            entries.figures.uploads += 1;
            entries.figures.uploaded_bytes += live.bytes;
        }
    }

    /// Counts a chunk that the pod is let read; whether it may be.
    pub(super) fn read(&self) -> bool {
        let mut entries = self.entries();
        if !entries.renounced {
            entries.figures.downloads += 1;
        }
        !entries.renounced
    }

    /// Signs nothing any more. Whether that is new.
    pub(super) fn renounce(&self) -> bool {
        !std::mem::replace(&mut self.entries().renounced, true)
    }

    pub(super) fn figures(&self) -> Figures {
        self.entries().figures
    }

    /// Says what went directly.
    pub(super) fn tell(&self, attempt: AttemptId) {
        let figures = self.figures();
        if figures != Figures::default() {
            let Figures {
                uploads,
                uploaded_bytes,
                downloads,
            } = figures;
            tracing::info!(%attempt, uploads, uploaded_bytes, downloads, "chunks went between the pod and the store directly");
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Digest::new(bytes)
    }

    #[tokio::test(start_paused = true)]
    async fn few_live_at_once_and_not_for_ever() {
        let ledger = Ledger::default();
        for number in 0..LIVE_UPLOADS {
            assert!(ledger.enter(digest(number), 10));
        }
        assert!(!ledger.enter(digest(LIVE_UPLOADS), 10));
        assert!(ledger.enter(digest(0), 11), "the same again takes no other place");
        assert_eq!(ledger.signed(digest(0)), Some(11));
        ledger.close(digest(0), true);
        ledger.close(digest(0), true);
        assert!(ledger.enter(digest(LIVE_UPLOADS), 10));
        ledger.close(digest(1), false);
        tokio::time::advance(LIFE).await;
        for number in 100..100 + LIVE_UPLOADS {
            assert!(ledger.enter(digest(number), 10));
        }
        assert_eq!(ledger.open().len(), LIVE_UPLOADS);
        let figures = Figures {
            uploads: 1,
            uploaded_bytes: 11,
            downloads: 0,
        };
        assert_eq!(ledger.figures(), figures);
    }

    #[test]
    fn nothing_is_signed_for_a_pod_that_cannot_use_it() {
        let ledger = Ledger::default();
        assert!(ledger.read());
        assert!(ledger.renounce());
        assert!(!ledger.renounce());
        assert!(!ledger.read());
        assert_eq!(ledger.figures().downloads, 1);
    }
}
