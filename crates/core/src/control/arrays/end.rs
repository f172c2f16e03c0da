//! How an array ends: as its indexes have.

use crate::build::{JobState, TerminalState};
use crate::control::Control;
use crate::control::builds::{JobKey, LiveBuild};
use crate::control::outbox::Outbox;
use crate::control::settle::WORST_FIRST;

impl Control {
    /// Ends an array whose indexes are all over, and does what follows.
    pub(super) fn end_array(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some(build) = self.builds.get(key.build) else {
            return;
        };
        let (state, message) = build.end_of_array(key.index);
        if let Some(job) = self.builds.job_mut(key) {
            job.status.message = message;
        }
        self.end(outbox, key, state);
    }

    /// Cancels an array, with all its indexes.
    pub(in crate::control) fn cancel_array(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some(job) = self.builds.job_mut(key) else { return };
        if job.status.state.terminal().is_none() && !job.status.cancel_requested {
            job.status.cancel_requested = true;
            outbox.touch(key, job);
            self.end_unbegun(outbox, key, TerminalState::Killed, "cancelled");
        }
        let Some(array) = self.builds.get(key.build).and_then(|build| build.array(key.index)) else {
            return;
        };
        let goes_on = |state: JobState| state.terminal().is_none();
        let begun = array.begun.values().filter(|job| goes_on(job.status.state));
        let numbers: Vec<u32> = begun.map(|job| job.index).collect();
        let ended = numbers
            .into_iter()
            .filter(|number| self.cancel_only(outbox, JobKey { index: *number, ..key }))
            .collect();
        self.follow(outbox, key.build, ended);
    }
}

impl LiveBuild {
    /// How the indexes of an array ended, as a build of them would.
    fn end_of_array(&self, job: u32) -> (TerminalState, String) {
        let Some((array, job)) = self.array(job).zip(self.job(job)) else {
            return (TerminalState::Finished, String::new());
        };
        let unbegun = job.status.unbegun();
        let worst = WORST_FIRST.into_iter().find_map(|worst| {
            let begun = array.begun.iter();
            let mut of = begun
                .filter(|(_, job)| job.status.ended() == Some(worst))
                .map(|(index, _)| *index);
            let first = of.next();
            let rest = unbegun.filter(|unbegun| unbegun.state == worst);
            let count = first.map_or(0, |_| 1 + of.count()) + rest.map_or(0, |_| array.unbegun() as usize);
            (count > 0).then_some((worst, first, count))
        });
        let Some((state, first, count)) = worst else {
            return (TerminalState::Finished, String::new());
        };
        let of = format!("{count} of {} indexes ended as `{state}`", array.array.count);
        let message = match (first, job.status.cancel_requested) {
            // The counts say the rest.
            (_, true) if count == array.array.count as usize => "cancelled".to_owned(),
            (_, true) => format!("cancelled; {of}"),
            (Some(first), _) if count == 1 => format!("index {first} of {} ended as `{state}`", array.array.count),
            (Some(first), _) => format!("{of}, the first of them {first}"),
            (None, _) => format!(
                "{of} before they began: {}",
                unbegun.map_or("", |unbegun| &unbegun.message)
            ),
        };
        (state, message)
    }
}
