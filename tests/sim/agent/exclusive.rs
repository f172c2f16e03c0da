//! Supervisors of commands that end with their cluster's lease: the agent tells them of each one, and need not live for them to heed the last.

use std::time::Duration;

use tombolo_core::attempt::{Assignment, Phase};
use tombolo_core::id::AttemptId;

use super::{Exit, Step, Stored};
use crate::world::{Bug, Item, World};
use tombolo_tests::history::Fact;

/// What is left of the lease when nothing of the command is there any more.
const AHEAD: Duration = Duration::from_millis(1);

pub(super) fn is_exclusive(assignment: &Assignment) -> bool {
    assignment.job.extensions.as_ref().is_some_and(|says| says.exclusive)
}

impl World {
    /// Lets a command go on, and tells its supervisor if there is one.
    pub(super) fn hold(&mut self, index: usize, attempt: AttemptId, until: Duration) {
        let agent = &mut self.agents[index];
        if let Some(process) = &mut agent.process {
            process.held.insert(attempt, until);
        }
        if let Some(stored) = agent.disk.get_mut(&attempt) {
            stored.leased_until = stored.leased_until.max(until);
        }
    }

    /// Whether a command may start that ends with the lease, or one that does not.
    pub(super) fn is_held(&self, index: usize, stored: &Stored) -> bool {
        let process = self.agents[index].process.as_ref();
        let until = process.and_then(|process| process.held.get(&stored.assignment.attempt));
        !is_exclusive(&stored.assignment) || until.is_some_and(|until| self.schedule.now() + AHEAD < *until)
    }

    /// Has the supervisor look when the lease ends, if its command has one.
    pub(super) fn heed_lease(&mut self, index: usize, attempt: AttemptId) {
        let held = self.agents[index]
            .process
            .as_ref()
            .and_then(|process| process.held.get(&attempt).copied());
        if let Some((stored, until)) = self.agents[index].disk.get_mut(&attempt).zip(held) {
            stored.leased_until = until;
        }
        let agent = &self.agents[index];
        let Some(stored) = agent
            .disk
            .get(&attempt)
            .filter(|stored| is_exclusive(&stored.assignment))
        else {
            return;
        };
        let (at, boot, life) = (stored.leased_until.saturating_sub(AHEAD), agent.boots, agent.life);
        let at = at.max(self.schedule.now());
        let step = Step::LeaseDue(attempt, boot);
        self.schedule.at(
            at,
            Item::AgentStep {
                agent: index,
                life,
                step,
            },
        );
    }

    /// The end of the lease that the supervisor knew of, and of a later one perhaps not.
    pub(super) fn lease_due(&mut self, index: usize, attempt: AttemptId, boot: u64) {
        let agent = &self.agents[index];
        let Some(stored) = agent.disk.get(&attempt).filter(|_| agent.boots == boot) else {
            return;
        };
        let at = stored.leased_until.saturating_sub(AHEAD);
        if at <= self.schedule.now() {
            if self.bug != Some(Bug::LeaseOutlived) {
                self.command_ends(index, attempt, boot, Exit::LeaseEnded);
            }
            return;
        }
        let (life, step) = (agent.life, Step::LeaseDue(attempt, boot));
        self.schedule.at(
            at,
            Item::AgentStep {
                agent: index,
                life,
                step,
            },
        );
    }

    /// Nothing of the command runs any more, if it did.
    pub(super) fn note_command_over(&mut self, index: usize, attempt: AttemptId) {
        let agent = &self.agents[index];
        let runs = |stored: &&Stored| {
            stored.supervised_in == Some(agent.boots)
                && !matches!(stored.phase, Phase::Ended(_))
                && is_exclusive(&stored.assignment)
        };
        if agent.disk.get(&attempt).filter(runs).is_some() {
            self.history.fact(self.schedule.now(), Fact::CommandOver(attempt));
        }
    }
}
