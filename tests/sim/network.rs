//! The links between the agents and the master.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_core::session::{AgentFrame, MasterFrame, OrderFrame};

use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::world::{Bug, Item};

/// One connection, as each end sees it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) agent: usize,
    pub(crate) agent_open: bool,
    pub(crate) master_open: bool,
    /// When the latest frame arrives, up and down: without reordering none may come before.
    last_up: Duration,
    last_down: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) connections: BTreeMap<u64, Connection>,
    made: u64,
    cuts: BTreeMap<usize, Cut>,
    /// The latest epoch of each job that was sent to an agent, for a planted bug.
    latest: BTreeMap<JobId, Epoch>,
}

/// Which directions are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) up: bool,
    pub(crate) down: bool,
}

impl Network {
    pub(crate) fn open(&mut self, agent: usize, now: Duration) -> u64 {
        self.made += 1;
        let connection = Connection {
            agent,
            agent_open: true,
            master_open: true,
            last_up: now,
            last_down: now,
        };
        self.connections.insert(self.made, connection);
        self.made
    }

    pub(crate) fn cut(&mut self, agent: usize, cut: Cut) {
        self.cuts.insert(agent, cut);
    }

    pub(crate) fn mend(&mut self, agent: usize) {
        self.cuts.remove(&agent);
    }

    pub(crate) fn mend_all(&mut self) {
        self.cuts.clear();
    }

    pub(crate) fn is_cut(&self, agent: usize) -> bool {
        self.cuts.contains_key(&agent)
    }

    pub(crate) fn up_is_cut(&self, agent: usize) -> bool {
        self.cuts.get(&agent).is_some_and(|cut| cut.up)
    }

    pub(crate) fn down_is_cut(&self, agent: usize) -> bool {
        self.cuts.get(&agent).is_some_and(|cut| cut.down)
    }

    /// One end closes it. The other notices some time later, unless the network is cut in between.
    pub(crate) fn close_agent_end(&mut self, id: u64, schedule: &mut Schedule<Item>, delay: Duration) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.agent_open = false;
        let (agent, other) = (connection.agent, connection.master_open);
        if other && !self.up_is_cut(agent) {
            schedule.after(delay, Item::MasterEndBroke(id));
        }
        self.drop_dead(id);
    }

    pub(crate) fn close_master_end(&mut self, id: u64, schedule: &mut Schedule<Item>, delay: Duration) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.master_open = false;
        let (agent, other) = (connection.agent, connection.agent_open);
        if other && !self.down_is_cut(agent) {
            schedule.after(delay, Item::AgentEndBroke(id));
        }
        self.drop_dead(id);
    }

    fn drop_dead(&mut self, id: u64) {
        if self
            .connections
            .get(&id)
            .is_some_and(|connection| !connection.agent_open && !connection.master_open)
        {
            self.connections.remove(&id);
        }
    }

    pub(crate) fn send_up(
        &mut self,
        id: u64,
        mut frame: AgentFrame,
        (scenario, bug): (&Scenario, Option<Bug>),
        (schedule, rng): (&mut Schedule<Item>, &mut ChaCha8Rng),
    ) {
        if bug == Some(Bug::NetworkRewritesEpochs) {
            self.rewrite_epochs(&mut frame);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        for delay in delays(scenario, rng) {
            let mut at = schedule.now() + delay;
            if !scenario.reorder {
                at = at.max(connection.last_up);
                connection.last_up = at;
            }
            schedule.at(at, Item::ToMaster(id, frame.clone()));
        }
    }

    pub(crate) fn send_down(
        &mut self,
        id: u64,
        frame: &MasterFrame,
        scenario: &Scenario,
        (schedule, rng): (&mut Schedule<Item>, &mut ChaCha8Rng),
    ) {
        if let MasterFrame::Order {
            order: OrderFrame::Assign(assignment),
            ..
        } = frame
        {
            let latest = self.latest.entry(assignment.attempt.job).or_default();
            *latest = assignment.attempt.epoch.max(*latest);
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        for delay in delays(scenario, rng) {
            let mut at = schedule.now() + delay;
            if !scenario.reorder {
                at = at.max(connection.last_down);
                connection.last_down = at;
            }
            schedule.at(at, Item::ToAgent(id, frame.clone()));
        }
    }

    /// A planted bug: what an agent says of an old attempt is taken for news of the latest one.
    fn rewrite_epochs(&self, frame: &mut AgentFrame) {
        let latest = |attempt: AttemptId| {
            let epoch = self.latest.get(&attempt.job).copied().unwrap_or(attempt.epoch);
            AttemptId { epoch, ..attempt }
        };
        match frame {
            AgentFrame::Report { attempt, .. } => *attempt = latest(*attempt),
            AgentFrame::Hello(hello) => {
                let listed: Vec<AttemptId> = hello.attempts.iter().map(|report| report.attempt).collect();
                for report in &mut hello.attempts {
                    if !listed.contains(&latest(report.attempt)) {
                        report.attempt = latest(report.attempt);
                    }
                }
            }
            _ => {}
        }
    }
}

/// When the copies of a frame arrive: none, one or two.
fn delays(scenario: &Scenario, rng: &mut ChaCha8Rng) -> Vec<Duration> {
    let copies = 1 + usize::from(scenario.duplication > 0.0 && rng.random_bool(scenario.duplication));
    let mut delays = Vec::new();
    for _ in 0..copies {
        if scenario.loss > 0.0 && rng.random_bool(scenario.loss) {
            continue;
        }
        let usual = rng.random_range(Duration::from_micros(100)..=scenario.latency);
        delays.push(if rng.random_bool(0.02) { usual * 5 } else { usual });
    }
    delays
}
