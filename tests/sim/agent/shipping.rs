//! A model of the log's way to the masters: what is not acknowledged is sent again.

use std::time::Duration;

use rand::RngExt;
use tombolo_core::attempt::Phase;
use tombolo_core::id::AttemptId;

use super::{Step, Stored};
use crate::master::Lines;
use crate::world::{Item, World};

/// How often it is looked whether there is something to send.
const LOOK: Duration = Duration::from_secs(2);

/// How far the log of an attempt is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shipped {
    written: u64,
    acknowledged: u64,
    refused: bool,
}

/// What a master says of lines.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Logged {
    /// All before this one are durable.
    Upto(u64),
    /// It wants no more of this log.
    Refused,
}

impl Shipped {
    const fn is_open(&self) -> bool {
        !self.refused && self.acknowledged < self.written
    }
}

impl World {
    /// The log of an attempt has more lines than before, and another number than any other. Gives that.
    pub(super) fn write_log(&mut self, index: usize, attempt: AttemptId) -> u64 {
        let lines = u64::try_from(self.fresh()).unwrap_or(u64::MAX);
        if let Some(stored) = self.agents[index].disk.get_mut(&attempt) {
            stored.log.written = lines;
        }
        lines
    }

    pub(super) fn plan_shipping(&mut self, index: usize) {
        let life = self.agents[index].life;
        let pause = self.draw_time(LOOK);
        let step = Step::Ship;
        let item = Item::AgentStep {
            agent: index,
            life,
            step,
        };
        self.schedule.after(pause, item);
    }

    /// Sends the next lines of all logs, which may get lost.
    pub(super) fn ship(&mut self, index: usize) {
        self.plan_shipping(index);
        let agent = &self.agents[index];
        let life = agent.life;
        let open = |(attempt, stored): (&AttemptId, &Stored)| stored.log.is_open().then_some((*attempt, stored.log));
        let open: Vec<(AttemptId, Shipped)> = agent.disk.iter().filter_map(open).collect();
        for (attempt, log) in open {
            if self.scenario.loss > 0.0 && self.rng.random_bool(self.scenario.loss) {
                continue;
            }
            let end = self.rng.random_range(log.acknowledged + 1..=log.written);
            let lines = Lines {
                attempt,
                first: log.acknowledged,
                end,
            };
            let delay = self.draw_time(self.scenario.latency);
            let item = Item::Logs {
                agent: index,
                start: life,
                lines,
            };
            self.schedule.after(delay, item);
        }
    }

    /// A master has answered.
    pub(crate) fn logged(&mut self, index: usize, start: u64, attempt: AttemptId, answer: Logged) {
        let agent = &mut self.agents[index];
        if agent.life != start || agent.process.is_none() || self.network.down_is_cut(index) {
            return;
        }
        let Some(stored) = agent.disk.get_mut(&attempt) else {
            return;
        };
        match answer {
            Logged::Upto(next) => stored.log.acknowledged = next,
            Logged::Refused => stored.log.refused = true,
        }
    }

    /// Whether an attempt that is to be forgotten has a log that counts, and is not with the masters yet.
    pub(super) fn must_ship_first(&self, index: usize, attempt: AttemptId) -> bool {
        let stored = self.agents[index].disk.get(&attempt);
        stored.is_some_and(|stored| matches!(stored.phase, Phase::Ended(_)) && stored.log.is_open())
    }
}
