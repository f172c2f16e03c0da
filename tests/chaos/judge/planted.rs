//! Which promises have to be broken for a planted mistake to count as found.

use tombolo_core::planted::Bug;

use super::check::{Promise, Verdict};

/// What is to be seen of a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// At least one of these promises is broken.
    Breaks(&'static [Promise]),
    /// Nothing, for this reason.
    Nothing(&'static str),
}

/// What is said of the run as such, and what any other mistake could break as well, finds none.
pub(crate) const NEVER_COUNTED: [Promise; 4] = [
    Promise::SaysSomething,
    Promise::NoPanic,
    Promise::MemoryBounded,
    Promise::InTime,
];

/// What a mistake is to be known by.
pub(crate) const fn trace(bug: Bug) -> Trace {
    use Promise::{
        EndsFinal, ErrorsExplained, ExclusiveAlone, InputsThere, LogsWhole, NothingLost, OneTakesEffect, OutputsWhole,
        SelectorsHold,
    };
    const FENCED: &str = "the database refuses what a leader wants that was followed, so that users see nothing of it";
    const SQLITE: &str = "it is made in SQLite's store, and masters here have Postgres";
    match bug {
        Bug::AnswersBeforeCommit | Bug::FailedCommitTaken => Trace::Breaks(&[NothingLost, OneTakesEffect, EndsFinal]),
        Bug::CommitUnfenced | Bug::LogUnfenced => Trace::Nothing(SQLITE),
        Bug::LeaderCountsFromReceipt | Bug::FollowsTooEarly => Trace::Nothing(FENCED),
        Bug::StatusOfAnyEpoch => Trace::Breaks(&[OneTakesEffect, EndsFinal]),
        Bug::OutputOfAnyEpoch => Trace::Breaks(&[OneTakesEffect, OutputsWhole]),
        Bug::LogOfAnyEpoch | Bug::LastLogLineLost => Trace::Breaks(&[LogsWhole]),
        Bug::LeaseForgotten => Trace::Nothing("all clusters come back, and what waits for them goes on"),
        Bug::LeaseFromReceipt | Bug::HoldUnconfirmed | Bug::ExclusiveNotHeldBack | Bug::PlacedAgainOnReconnect => {
            Trace::Breaks(&[ExclusiveAlone])
        }
        Bug::LapsedLeaseGoesOn => Trace::Breaks(&[ExclusiveAlone, OneTakesEffect]),
        Bug::StartedAgainOnRepeat => Trace::Breaks(&[OneTakesEffect]),
        Bug::CancelForgotten => Trace::Breaks(&[EndsFinal]),
        Bug::InputLeftOut => Trace::Breaks(&[InputsThere]),
        Bug::SelectorForgotten => Trace::Breaks(&[SelectorsHold]),
        Bug::RelayByteDropped => Trace::Breaks(&[OutputsWhole, ErrorsExplained]),
        Bug::ManifestPublishedEarly => Trace::Breaks(&[OutputsWhole, InputsThere, ErrorsExplained]),
        Bug::LiveChunkSwept => Trace::Nothing("nothing is swept"),
        Bug::KeptBuildGivenUp => Trace::Nothing("projects keep everything"),
        Bug::SilenceTakenForLoss => Trace::Nothing("what is taken for lost is made again, and is the same"),
        Bug::LeaseOvertakesWord => {
            Trace::Nothing("what starts by it is stopped at once, and the moment for it is rare")
        }
    }
}

/// The promises by which the mistake was found.
pub(crate) fn found(bug: Bug, verdicts: &[Verdict]) -> Vec<Promise> {
    let Trace::Breaks(wanted) = trace(bug) else {
        return Vec::new();
    };
    let broken = verdicts.iter().filter(|verdict| !verdict.holds());
    broken
        .map(|verdict| verdict.promise)
        .filter(|promise| wanted.contains(promise) && !NEVER_COUNTED.contains(promise))
        .collect()
}
