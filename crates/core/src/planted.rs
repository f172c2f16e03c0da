//! Mistakes that can be planted, to see whether the tests that search for mistakes find them.
//!
//! Each one is asked for at the very place where it would be made: `if planted(Bug::...)`. Without the feature `planted` the answer is a
//! constant and nothing of it is compiled. No crate has that feature by default, and no program that is built for users has it. With it, one
//! mistake at a time is made by a thread that said so ([`Planting`]), for simulations of which several run at once, or by the whole process
//! ([`plant_everywhere`]).

/// A mistake that somebody could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Bug {
    /// The driver answers, and gives orders, before what they follow from is durable.
    AnswersBeforeCommit,
    /// The driver takes a commit for made that failed.
    FailedCommitTaken,
    /// The database takes commits of a leader that another one has followed.
    CommitUnfenced,
    /// The database takes logs of a leader that another one has followed.
    LogUnfenced,
    /// A leader counts its lease from when the renewal was acknowledged, instead of from when it was sent.
    LeaderCountsFromReceipt,
    /// A leader is followed as soon as its lease may have ended by the clock of the one that waits, without any reserve.
    FollowsTooEarly,
    /// What an earlier attempt of a job says of its progress is taken for the present one's.
    StatusOfAnyEpoch,
    /// What an earlier attempt of a job has left is taken for the present one's.
    OutputOfAnyEpoch,
    /// The log of an earlier attempt of a job is taken as long as the job is on that cluster.
    LogOfAnyEpoch,
    /// Nobody looks when the lease of a cluster ends.
    LeaseForgotten,
    /// An agent counts its lease from when the heartbeat was acknowledged, instead of from when it was sent.
    LeaseFromReceipt,
    /// A lease that has lapsed goes on, without a word of the master on what has not begun.
    LapsedLeaseGoesOn,
    /// A command that ends with the lease goes on with a later one for which the master has not confirmed it.
    HoldUnconfirmed,
    /// An exclusive job is placed elsewhere while its command may still run.
    ExclusiveNotHeldBack,
    /// What an agent still has when it comes back is placed again.
    PlacedAgainOnReconnect,
    /// An agent starts again what it was told to start twice.
    StartedAgainOnRepeat,
    /// An attempt is told to stop, and nobody remembers that it was cancelled.
    CancelForgotten,
    /// A child is given all inputs but one.
    InputLeftOut,
    /// Jobs are placed wherever there is room.
    SelectorForgotten,
    /// A byte of a tunnel gets lost at the master.
    RelayByteDropped,
    /// A manifest is written before the chunks that it lists.
    ManifestPublishedEarly,
    /// What is condemned is deleted, although an upload may rely on it.
    LiveChunkSwept,
    /// The last line of a batch of a log is acknowledged, and not written.
    LastLogLineLost,
    /// A command that waits for the lease starts with one that came along with the word that it is not to start.
    LeaseOvertakesWord,
    /// Of a policy that keeps so many builds the last one is given up.
    KeptBuildGivenUp,
    /// What nobody gave is taken for lost, also where somebody may have it who did not answer.
    SilenceTakenForLoss,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::AnswersBeforeCommit,
        Self::FailedCommitTaken,
        Self::CommitUnfenced,
        Self::LogUnfenced,
        Self::LeaderCountsFromReceipt,
        Self::FollowsTooEarly,
        Self::StatusOfAnyEpoch,
        Self::OutputOfAnyEpoch,
        Self::LogOfAnyEpoch,
        Self::LeaseForgotten,
        Self::LeaseFromReceipt,
        Self::LapsedLeaseGoesOn,
        Self::HoldUnconfirmed,
        Self::ExclusiveNotHeldBack,
        Self::PlacedAgainOnReconnect,
        Self::StartedAgainOnRepeat,
        Self::CancelForgotten,
        Self::InputLeftOut,
        Self::SelectorForgotten,
        Self::RelayByteDropped,
        Self::ManifestPublishedEarly,
        Self::LiveChunkSwept,
        Self::LastLogLineLost,
        Self::LeaseOvertakesWord,
        Self::KeptBuildGivenUp,
        Self::SilenceTakenForLoss,
    ];

    /// The mistake that [`fmt::Debug`](std::fmt::Debug) writes like this.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }
}

/// Whether the mistake is to be made here. Never, without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use switch::{Planting, plant_everywhere, planted};

#[cfg(feature = "planted")]
mod switch {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    /// That the whole process makes no mistake.
    const NONE: u8 = u8::MAX;

    thread_local! {
        static HERE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    static EVERYWHERE: AtomicU8 = AtomicU8::new(NONE);

    /// Whether the mistake is to be made here.
    pub fn planted(bug: Bug) -> bool {
        HERE.get() == Some(bug) || EVERYWHERE.load(Ordering::Relaxed) == bug as u8
    }

    /// Makes all threads of this process make the mistake, for as long as it lives.
    pub fn plant_everywhere(bug: Bug) {
        EVERYWHERE.store(bug as u8, Ordering::Relaxed);
    }

    /// As long as this lives, the thread that made it makes the mistake, and no other.
    #[derive(Debug)]
    pub struct Planting {
        before: Option<Bug>,
    }

    impl Planting {
        /// Has this thread make the mistake; or none.
        #[must_use]
        pub fn of(bug: Option<Bug>) -> Self {
            let before = HERE.replace(bug);
            Self { before }
        }
    }

    impl Drop for Planting {
        fn drop(&mut self) {
            HERE.set(self.before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_listed_once_and_found_by_its_name() {
        for (number, bug) in (0_u8..).zip(Bug::ALL) {
            assert_eq!(bug as u8, number, "{bug:?} is not where it belongs");
            assert_eq!(Bug::named(&format!("{bug:?}")), Some(bug));
        }
        assert_eq!(Bug::named("NoBugOfOurs"), None);
    }

    #[test]
    #[cfg(not(feature = "planted"))]
    fn nothing_is_planted_by_default() {
        assert!(Bug::ALL.into_iter().all(|bug| !planted(bug)));
    }

    #[test]
    #[cfg(feature = "planted")]
    fn a_mistake_is_made_by_the_thread_that_wants_it_alone() {
        let planting = Planting::of(Some(Bug::CancelForgotten));
        assert!(planted(Bug::CancelForgotten) && !planted(Bug::InputLeftOut));
        std::thread::scope(|scope| scope.spawn(|| assert!(!planted(Bug::CancelForgotten))).join()).unwrap();
        {
            let _none = Planting::of(None);
            assert!(!planted(Bug::CancelForgotten));
        }
        assert!(planted(Bug::CancelForgotten));
        drop(planting);
        assert!(!planted(Bug::CancelForgotten));
    }
}
