//! A verdict for each promise, by the history alone.

mod asked;
mod effect;
mod ends;
mod errors;
mod limits;
mod logs;
mod outputs;
mod run;
mod sense;

use super::history::Entry;
pub(crate) use run::Run;

/// What is held against the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    NothingLost,
    InTime,
    AsAskedFor,
    ErrorsExplained,
    OneTakesEffect,
    ExclusiveAlone,
    OutputsWhole,
    InputsThere,
    SelectorsHold,
    EndsFinal,
    LogsWhole,
    MemoryBounded,
    NothingLeft,
    NoPanic,
    SaysSomething,
}

impl Promise {
    /// The name of its invariant in the design.
    pub(crate) const fn invariant(self) -> &'static str {
        match self {
            Self::NothingLost | Self::InTime | Self::AsAskedFor | Self::ErrorsExplained => "I1",
            Self::OneTakesEffect | Self::ExclusiveAlone => "I2",
            Self::OutputsWhole => "I3",
            Self::InputsThere => "I4",
            Self::SelectorsHold => "I5",
            Self::EndsFinal => "I6",
            Self::LogsWhole => "logs",
            Self::MemoryBounded => "I8",
            Self::NothingLeft => "I10",
            Self::NoPanic | Self::SaysSomething => "—",
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NothingLost => "What was acknowledged is there, and ends",
            Self::InTime => "All is over within a minute after the last trouble",
            Self::AsAskedFor => "Builds have the jobs that were asked for, and ends follow from one another",
            Self::ErrorsExplained => "Errors are few, and trouble explains them",
            Self::OneTakesEffect => "One attempt of a job takes effect",
            Self::ExclusiveAlone => "An exclusive command never runs twice at once",
            Self::OutputsWhole => "Outputs arrive whole, as they were left",
            Self::InputsThere => "A job begins with all its inputs",
            Self::SelectorsHold => "A job runs where its selector allows",
            Self::EndsFinal => "What is over stays over, and cancelling is final",
            Self::LogsWhole => "No line of a log is lost, doubled or another attempt's",
            Self::MemoryBounded => "Memory is bounded",
            Self::NothingLeft => "Sandboxes, pods and processes of jobs are gone at the end",
            Self::NoPanic => "No part panics",
            Self::SaysSomething => "The run says something: trouble came, and work was done",
        }
    }
}

/// What is said of a promise.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) promise: Promise,
    /// What was looked at.
    pub(crate) numbers: Vec<(&'static str, String)>,
    /// What is not so.
    pub(crate) faults: Vec<String>,
}

impl Verdict {
    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty()
    }
}

/// All verdicts. `planned` is how many kinds of events there were to be.
pub(crate) fn judge(history: &[Entry], planned: usize) -> Vec<Verdict> {
    let run = Run::of(history);
    vec![
        ends::nothing_is_lost(&run),
        ends::all_ends_in_time(&run),
        asked::builds_are_as_asked_for(&run),
        errors::errors_are_explained(&run),
        effect::one_attempt_counts(&run),
        effect::exclusive_is_alone(&run),
        outputs::outputs_are_what_was_left(&run),
        outputs::inputs_are_there(&run),
        sense::selectors_hold(&run),
        ends::ends_are_final(&run),
        logs::logs_are_whole(&run),
        limits::memory_is_bounded(&run),
        limits::nothing_is_left(&run),
        limits::nobody_cries(&run),
        sense::the_run_says_something(&run, planned),
    ]
}

/// Whether all hold.
pub(crate) fn all_hold(verdicts: &[Verdict]) -> bool {
    verdicts.iter().all(Verdict::holds)
}
