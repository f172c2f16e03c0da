//! A verdict for each invariant, by the history alone.

mod effect;
mod ends;
mod limits;
mod logs;
mod outputs;
mod run;
mod sense;

use super::history::Entry;
pub(crate) use run::Run;

/// What is said of an invariant.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// Its name in the design.
    pub(crate) invariant: &'static str,
    pub(crate) promise: &'static str,
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
