//! The words by which states, roles and the like stand in databases: the same in all of them.

use tombolo_core::access::Role;
use tombolo_core::build::{BuildState, JobKind, JobState, TerminalState};
use tombolo_core::placement::Availability;

/// The availability of that name.
pub(crate) fn availability(text: &str) -> Option<Availability> {
    Availability::ALL
        .into_iter()
        .find(|availability| availability.as_str() == text)
}

/// The role of that name.
pub(crate) fn role(text: &str) -> Option<Role> {
    [Role::Viewer, Role::Developer, Role::Admin]
        .into_iter()
        .find(|role| role.as_str() == text)
}

/// The build's state of that name.
pub(crate) fn build_state(text: &str) -> Option<BuildState> {
    if text == BuildState::Running.as_str() {
        return Some(BuildState::Running);
    }
    terminal(text).map(BuildState::Terminal)
}

/// The kind of job of that name.
pub(crate) fn job_kind(text: &str) -> Option<JobKind> {
    JobKind::ALL.into_iter().find(|kind| kind.as_str() == text)
}

/// The job's state of that name.
pub(crate) fn job_state(text: &str) -> Option<JobState> {
    use JobState::{Assigned, Preparing, Publishing, Queued, Running, Waiting};
    let open = [Waiting, Queued, Assigned, Preparing, Running, Publishing].into_iter();
    open.chain(TerminalState::ALL.map(JobState::Terminal))
        .find(|state| state.as_str() == text)
}

fn terminal(text: &str) -> Option<TerminalState> {
    TerminalState::ALL.into_iter().find(|state| state.as_str() == text)
}
