//! The logs of attempts at the masters: which are taken is for the control plane to say.

use rand::RngExt;
use tombolo_core::control::Standing;
use tombolo_core::id::AttemptId;

use crate::agent::Logged;
use crate::world::{Item, World};
use tombolo_tests::history::Fact;

/// Lines that an agent has sent, from one number to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lines {
    pub(crate) attempt: AttemptId,
    pub(crate) first: u64,
    pub(crate) end: u64,
}

impl World {
    /// Lines come to one of the masters, if any of them leads.
    pub(crate) fn logs_arrive(&mut self, agent: usize, start: u64, lines: Lines) {
        if self.network.up_is_cut(agent) {
            return;
        }
        let Some(life) = self.draw_leader() else { return };
        let busy = self.master.process(life).is_none_or(|process| process.committing);
        if busy {
            // Questions wait until what was applied is durable.
            let again = self.draw_time(self.scenario.commit_time);
            return self.schedule.after(again, Item::Logs { agent, start, lines });
        }
        let standing = self.standing(life, agent, lines.attempt);
        let answer = match standing {
            Standing::None => Some(Logged::Refused),
            Standing::Replaced(all) if lines.end > all => Some(Logged::Refused),
            Standing::Current | Standing::Over | Standing::Replaced(_) => {
                self.append(life, agent, lines).map(Logged::Upto)
            }
        };
        let lost = self.scenario.loss > 0.0 && self.rng.random_bool(self.scenario.loss);
        let Some(answer) = answer.filter(|_| !lost) else { return };
        let delay = self.draw_time(self.scenario.latency);
        let attempt = lines.attempt;
        self.schedule.after(
            delay,
            Item::Logged {
                agent,
                start,
                attempt,
                answer,
            },
        );
    }

    fn standing(&self, life: u64, agent: usize, attempt: AttemptId) -> Standing {
        let cluster = &self.agents[agent].name;
        let control = self.master.process(life).map(|process| &process.control);
        let live = control.and_then(|control| control.standing(cluster, attempt));
        let stored = || self.master.store.statuses.get(&attempt.job);
        live.unwrap_or_else(|| stored().map_or(Standing::None, |status| status.standing(cluster, attempt.epoch)))
    }

    /// The number of the next line, or nothing if the database does not answer.
    fn append(&mut self, life: u64, agent: usize, lines: Lines) -> Option<u64> {
        let fails = self.scenario.commit_failures > 0.0 && self.rng.random_bool(self.scenario.commit_failures);
        if fails || self.database_again(life).is_some() || self.master.store.leader != life {
            return None;
        }
        let Lines { attempt, first, end } = lines;
        let next = self.master.store.logs.entry(attempt).or_default();
        if first <= *next && end > *next {
            let (from, cluster) = (*next, self.agents[agent].name.clone());
            *next = end;
            let fact = Fact::LogTaken {
                cluster,
                attempt,
                first: from,
                end,
            };
            self.history.fact(self.schedule.now(), fact);
            return Some(end);
        }
        Some(*next)
    }
}
