//! Why a job is in its state, in words.

use tombolo_api::{Job, JobState, Replaced};
use tombolo_core::name::JobName;

use crate::command::indexes;
use crate::render;

/// Whether nothing but its parents keeps it.
pub(super) fn waits_for_parents(job: &Job) -> bool {
    job.state == JobState::Waiting && job.waiting.is_none() && job.message.is_empty()
}

/// The parents that a job still waits for: those that go on, or whose output is made again.
pub(super) fn awaited(job: &Job, all: &[Job]) -> String {
    let is_over = |name: &JobName| {
        let parent = all.iter().find(|other| other.name == *name);
        parent.is_some_and(|parent| parent.state.is_terminal() && parent.recovery.is_none())
    };
    let names = job.parents.iter().map(|parent| &parent.name);
    let names: Vec<_> = names.filter(|name| !is_over(name)).map(JobName::as_str).collect();
    match (names.as_slice(), &job.hook) {
        ([], None) => String::new(),
        ([], Some(_)) => "waits until the jobs that come before it in the build are over".to_owned(),
        (names, _) => format!("waits for {}", names.join(", ")),
    }
}

/// Why a job is in its state, as far as that needs a word. Which parents it waits for, only the whole build tells.
pub(crate) fn why(job: &Job) -> String {
    let words = [indexes::of_array(job), of_state(job), of_replaced(job), of_output(job)];
    let words: Vec<String> = words.into_iter().filter(|words| !words.is_empty()).collect();
    words.join("; ")
}

/// What became of its output, if that was lost.
fn of_output(job: &Job) -> String {
    let lost = job.output_lost.as_deref().unwrap_or_default();
    match (&job.recovery, lost.is_empty()) {
        (None, true) => String::new(),
        (None, false) => format!("its output is lost: {lost}"),
        (Some(recovery), _) => {
            let on = recovery.cluster.as_ref();
            let on = on.map_or_else(String::new, |cluster| format!(" on {cluster}"));
            let waits = job
                .waiting
                .as_ref()
                .map_or_else(String::new, |waits| format!(": {waits}"));
            format!(
                "its output was lost ({lost}) and is made again{on} ({}{waits})",
                recovery.state
            )
        }
    }
}

fn of_state(job: &Job) -> String {
    if job.recovery.is_some() {
        return job.message.clone();
    }
    if let Some(waiting) = &job.waiting {
        return waiting.clone();
    }
    if let Some(at) = job.retry_at {
        return format!("{} (due {})", job.message, render::until(at));
    }
    if !job.tries.is_empty() && job.state.is_terminal() {
        return of_tries(job);
    }
    job.message.clone()
}

/// Which of its attempts the system lost, once nothing else says so.
fn of_replaced(job: &Job) -> String {
    let words = |replaced: &Replaced| {
        let Replaced {
            epoch, cluster, reason, ..
        } = replaced;
        format!("attempt {epoch} on {cluster} was lost: {reason}")
    };
    let said = |replaced: &&Replaced| !job.message.contains(&replaced.reason);
    let lost: Vec<String> = job.replaced.iter().filter(said).map(words).collect();
    lost.join("; ")
}

/// How a job came to its end that had more than one try.
fn of_tries(job: &Job) -> String {
    let earlier: Vec<String> = job.tries.iter().map(|earlier| earlier.state.to_string()).collect();
    let has_begun = job.tries.last().is_none_or(|last| job.epoch > last.epoch);
    let which = if has_begun { "attempt" } else { "before attempt" };
    let before = format!("{which} {}, after {}", earlier.len() + 1, earlier.join(", "));
    match job.message.as_str() {
        "" => before,
        message => format!("{message} ({before})"),
    }
}
