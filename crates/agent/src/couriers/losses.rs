//! Inputs of one attempt that turned out not to be whole in the cluster's store while its pod fetched them.
//!
//! The courier's call is answered with "come again"; the attempt's life has the artifact brought from wherever it is whole.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tombolo_core::digest::Digest;
use tombolo_transfer::peer::{Readable, Remedy};

/// How often one artifact is brought again: each time, more of it was found damaged.
const TIMES: u32 = 8;

/// What became of an artifact that is not whole.
#[derive(Debug, Clone, Copy)]
struct Case {
    /// It is wanted, and was not brought yet.
    open: bool,
    /// How often it was wanted.
    times: u32,
}

/// The cases of one attempt. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    cases: Mutex<HashMap<Digest, Case>>,
    opened: Notify,
}

impl Losses {
    /// Waits for an artifact that is to be brought again; the same one until [`Self::settle`] is called for it. For one who waits
    /// at a time.
    pub async fn next(&self) -> Digest {
        loop {
            let opened = self.0.opened.notified();
            let open = self
                .cases()
                .iter()
                .find_map(|(digest, case)| case.open.then_some(*digest));
            match open {
                Some(manifest) => return manifest,
                None => opened.await,
            }
        }
    }

    /// The artifact was brought, or cannot be: then whoever finds it damaged once more is told so.
    pub fn settle(&self, manifest: Digest, was_brought: bool) {
        if let Some(case) = self.cases().get_mut(&manifest) {
            case.open = false;
            if !was_brought {
                case.times = TIMES;
            }
        }
    }

    fn cases(&self) -> MutexGuard<'_, HashMap<Digest, Case>> {
        self.0.cases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remedy for Losses {
    fn bring_again(&self, artifact: Readable) -> bool {
        let is_open = {
            let mut cases = self.cases();
            let case = cases.entry(artifact.manifest).or_insert(Case { open: false, times: 0 });
            if !case.open && case.times < TIMES {
                *case = Case {
                    open: true,
                    times: case.times + 1,
                };
            }
            case.open
        };
        if is_open {
            self.0.opened.notify_one();
        }
        is_open
    }
}

#[cfg(test)]
mod tests {
    use tombolo_core::id::ProjectId;

    use super::*;

    fn artifact(byte: u8) -> Readable {
        Readable {
            project: ProjectId::from_u128(1),
            manifest: Digest::new([byte; 32]),
        }
    }

    #[tokio::test]
    async fn an_artifact_is_wanted_until_it_is_settled() {
        let losses = Losses::default();
        assert!(losses.bring_again(artifact(1)));
        assert!(
            losses.bring_again(artifact(1)),
            "whoever asks meanwhile comes again too"
        );
        assert_eq!(losses.next().await, artifact(1).manifest);
        assert_eq!(losses.next().await, artifact(1).manifest);
        losses.settle(artifact(1).manifest, true);
        assert!(losses.bring_again(artifact(2)));
        assert_eq!(losses.next().await, artifact(2).manifest);
    }

    #[tokio::test]
    async fn nothing_is_brought_for_ever() {
        let losses = Losses::default();
        for _ in 0..TIMES {
            assert!(losses.bring_again(artifact(1)));
            losses.settle(artifact(1).manifest, true);
        }
        assert!(!losses.bring_again(artifact(1)));
        assert!(losses.bring_again(artifact(2)));
        losses.settle(artifact(2).manifest, false);
        assert!(
            !losses.bring_again(artifact(2)),
            "what cannot be brought is not tried again"
        );
    }
}
