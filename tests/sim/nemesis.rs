//! The nemesis: breaks what a scenario allows, until the world heals.

use std::time::Duration;

use rand::RngExt;
use tombolo_core::control::{Caution, Command};
use tombolo_core::placement::Availability;

use crate::agent::{Damage, Mood};
use crate::master::{LEASE, Origin};
use crate::network::Cut;
use crate::scenario::Fault;
use crate::world::{Item, World};
use tombolo_tests::history::Fact;

impl World {
    pub(crate) fn nemesis(&mut self) {
        if self.healed {
            return;
        }
        let faults = &self.scenario.faults;
        let fault = faults[self.rng.random_range(0..faults.len())];
        let agent = self.rng.random_range(0..self.agents.len());
        self.note(|| format!("nemesis: {fault:?} {agent}"));
        match fault {
            Fault::Partition => {
                let (up, down) =
                    [(true, true), (true, true), (true, false), (false, true)][self.rng.random_range(0..4)];
                self.network.cut(agent, Cut { up, down });
                let long = self.draw_outage();
                self.schedule.after(long, Item::Mend { agent });
            }
            Fault::Break => self.break_connection(agent),
            Fault::CrashMaster => {
                let machine = self.rng.random_range(0..self.scenario.masters);
                self.crash_master(machine);
                let long = self.draw_outage();
                self.schedule.after(long, Item::MasterStart { machine });
            }
            Fault::ReplaceAgent => self.leave_agent(agent),
            Fault::CrashAgent | Fault::CrashNode | Fault::WipeNode => {
                let damage = match fault {
                    Fault::CrashAgent => Damage::Process,
                    Fault::CrashNode => Damage::Node,
                    _ => Damage::Disk,
                };
                self.crash_agent(agent, damage);
                let long = self.draw_outage();
                self.schedule.after(long, Item::AgentStart { agent });
            }
            Fault::CutDatabase => {
                let machine = self.rng.random_range(0..self.scenario.masters);
                self.cut_database(machine, true);
                let long = self.draw_outage();
                self.schedule.after(long, Item::MendDatabase { machine });
            }
            Fault::EmptyStore => self.empty_store(agent),
            Fault::RefusingStore | Fault::LyingStore | Fault::SlowStore => {
                let until = self.schedule.now() + self.draw_outage();
                let mood = match fault {
                    Fault::RefusingStore => Mood::Refuses(until),
                    Fault::LyingStore => Mood::Lies(until),
                    _ => Mood::Dawdles(until),
                };
                self.agents[agent].store.set_mood(mood);
            }
            Fault::DamageOutput | Fault::LoseOutput => self.hurt_store(agent, fault),
            Fault::RemoveCluster => self.remove_cluster(agent),
            Fault::DrainCluster => self.drain_cluster(agent),
        }
        let pause = self.draw_time(self.scenario.fault_pause);
        self.schedule.after(pause, Item::Nemesis);
    }

    /// Ends all trouble: what is down starts, who was removed is back.
    pub(crate) fn heal(&mut self) {
        self.note(|| "the world heals".to_owned());
        self.healed = true;
        self.scenario.heal();
        self.network.mend_all();
        for machine in 0..self.scenario.masters {
            self.cut_database(machine, false);
            self.start_master(machine);
        }
        for agent in 0..self.agents.len() {
            self.agents[agent].store.set_mood(Mood::Fair);
            self.start_agent(agent);
        }
        // Removals that were on their way are through by then.
        self.schedule.after(Duration::from_secs(5), Item::Readmit);
        if self.scenario.hanging > 0.0 || self.scenario.one_dies {
            self.schedule.after(Duration::from_secs(240), Item::CancelAll);
        }
    }

    pub(crate) fn readmit_all(&mut self) {
        let mut readmitted = true;
        for agent in 0..self.agents.len() {
            readmitted &= self.readmit(agent);
            let name = self.agents[agent].name.clone();
            let is_closed = |now| now != Availability::Open;
            if self.master.availability(&name).is_some_and(is_closed) {
                readmitted &= self.set_availability(name, Availability::Open);
            }
        }
        if !readmitted {
            self.schedule.after(Duration::from_secs(1), Item::Readmit);
        }
    }

    /// Mostly short, sometimes longer than a lease and what is waited after it.
    pub(crate) fn draw_outage(&mut self) -> Duration {
        if self.scenario.tense {
            return LEASE / 2 + self.draw_time(LEASE);
        }
        let longest = [1, 5, 15, 45][self.rng.random_range(0..4)];
        self.draw_time(Duration::from_secs(longest))
    }

    fn break_connection(&mut self, agent: usize) {
        let open = self.network.connections.iter().filter(|(_, end)| end.agent == agent);
        let open: Vec<u64> = open.map(|(connection, _)| *connection).collect();
        for connection in open {
            let (master, agent) = (self.rng.random_bool(0.8), self.rng.random_bool(0.8));
            let delay = self.draw_time(Duration::from_secs(2));
            if master {
                self.schedule.after(delay, Item::MasterEndBroke(connection));
            }
            if agent {
                self.schedule.after(delay, Item::AgentEndBroke(connection));
            }
        }
    }

    /// Something of one output is not what it was, or not there any more.
    fn hurt_store(&mut self, agent: usize, fault: Fault) {
        let agent = &mut self.agents[agent];
        let manifests = match fault {
            Fault::DamageOutput => agent.store.damage(&mut self.rng),
            _ => agent.store.lose(&mut self.rng),
        };
        let cluster = agent.name.clone();
        self.history
            .fact(self.schedule.now(), Fact::StoreHurt { cluster, manifests });
    }

    /// A cluster is removed, or one that was removed is let in again, if the master is there to hear it.
    fn remove_cluster(&mut self, agent: usize) {
        let name = self.agents[agent].name.clone();
        if self.master.knows(&name) {
            self.command(
                Origin::Removal(name.clone()),
                Command::RemoveCluster {
                    name,
                    caution: Caution::None,
                },
            );
            // Whoever removed it by mistake does not wait.
            if self.rng.random_bool(0.5) {
                let soon = self.draw_time(LEASE / 4);
                self.schedule.after(soon, Item::ReadmitOne { agent });
            }
        } else {
            self.readmit(agent);
        }
    }
}
