//! The nemesis: breaks what a scenario allows, until the world heals.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};
use tombolo_store::faulty::Fault as CommitFault;

use crate::scenario::{Fault, draw_time};
use crate::world::World;

/// How long a lease is.
const LEASE: Duration = Duration::from_secs(15);
/// How many commits fail one after the other at the most.
const COMMITS: usize = 4;

pub(crate) struct Nemesis<'a> {
    pub(crate) world: &'a World,
    pub(crate) rng: ChaCha8Rng,
    /// What ends a fault again.
    pub(crate) mending: JoinSet<()>,
}

impl Nemesis<'_> {
    /// Until the world heals.
    pub(crate) async fn rage(&mut self) {
        let scenario = &self.world.scenario;
        let until = tokio::time::Instant::now() + scenario.heal_at;
        if scenario.faults.is_empty() {
            return sleep_until(until).await;
        }
        loop {
            let pause = draw_time(&mut self.rng, scenario.fault_pause);
            tokio::select! {
                biased;
                () = sleep_until(until) => return,
                () = sleep(pause) => {}
            }
            let fault = scenario.faults[self.rng.random_range(0..scenario.faults.len())];
            let agent = self.rng.random_range(0..self.world.agents.len());
            self.world.chronicle.note(format_args!("nemesis: {fault:?} {agent}"));
            self.strike(fault, agent);
        }
    }

    /// Plans the end of the first cluster, if it has one.
    pub(crate) fn bury(&mut self) {
        if self.world.scenario.one_dies {
            let agent = self.world.agents[0].clone();
            let at = draw_time(&mut self.rng, self.world.scenario.heal_at);
            self.later(at, move || agent.bury());
        }
    }

    fn strike(&mut self, fault: Fault, agent: usize) {
        let outage = self.draw_outage();
        let (world, rng) = (self.world, &mut self.rng);
        let network = world.network.clone();
        match fault {
            Fault::Partition => {
                let ways = [[true, true], [true, true], [true, false], [false, true]][rng.random_range(0..4)];
                network.cut(agent, ways);
                self.later(outage, move || network.cut(agent, [false; 2]));
            }
            Fault::Break => network.reset(agent, [rng.random_bool(0.8), rng.random_bool(0.8)]),
            Fault::CrashMaster | Fault::LoseMaster => {
                world.master.crash(fault == Fault::CrashMaster);
                let master = world.master.clone();
                self.later(outage, move || master.start());
            }
            Fault::CrashAgent | Fault::CrashNode | Fault::WipeNode => {
                let agent = world.agents[agent].clone();
                agent.crash(fault == Fault::CrashAgent);
                if fault != Fault::CrashAgent {
                    agent.machine.node.crash();
                }
                if fault == Fault::WipeNode {
                    agent.wipe();
                }
                self.later(outage, move || agent.start().expect("the agent starts"));
            }
            Fault::ReplaceAgent => {
                let agent = world.agents[agent].clone();
                self.mending
                    .spawn(async move { agent.replace().await.expect("the agent is replaced") });
            }
            Fault::LoseDatabase => {
                let faults = world.master.faults().clone();
                faults.leave();
                self.later(outage, move || faults.come_back());
            }
            Fault::FailCommits => {
                let kinds = [CommitFault::Before, CommitFault::After, CommitFault::Lost];
                let count = rng.random_range(1..=COMMITS);
                let drawn: Vec<_> = (0..count).map(|_| Some(kinds[rng.random_range(0..3)])).collect();
                world.master.faults().fail_commits(drawn);
            }
            Fault::SlowDown => {
                network.slow_down(Duration::from_secs(5));
                let latency = world.scenario.latency;
                self.later(outage, move || network.slow_down(latency));
            }
        }
    }

    fn later(&mut self, after: Duration, mend: impl FnOnce() + Send + 'static) {
        self.mending.spawn(async move {
            sleep(after).await;
            mend();
        });
    }

    /// Mostly short, sometimes longer than a lease and what is waited after it.
    fn draw_outage(&mut self) -> Duration {
        if self.world.scenario.tense {
            return LEASE / 2 + draw_time(&mut self.rng, LEASE);
        }
        let longest = [1, 5, 15, 45][self.rng.random_range(0..4)];
        draw_time(&mut self.rng, Duration::from_secs(longest))
    }
}
