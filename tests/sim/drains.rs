//! Administrators who drain clusters, and remove them when nothing is left.

use std::time::Duration;

use rand::RngExt;
use tombolo_core::attempt::Prefetch;
use tombolo_core::control::{Caution, Command, Copied, CopyStage, Present};
use tombolo_core::id::JobId;
use tombolo_core::name::ClusterName;
use tombolo_core::placement::Availability;
use tombolo_core::session::agent::Event;

use crate::agent::{Step, Upload};
use crate::master::{Given, Origin};
use crate::world::{Bug, Item, World};
use tombolo_tests::history::Fact;

impl World {
    /// A cluster is drained; one that is already takes jobs again, now and then.
    pub(crate) fn drain_cluster(&mut self, agent: usize) {
        let name = self.agents[agent].name.clone();
        let Some(now) = self.master.availability(&name) else {
            return;
        };
        if now == Availability::Open {
            // Attempts that are moved may just be starting where they were.
            self.set_availability(name, Availability::Draining);
            self.look_again(agent);
        } else if self.rng.random_bool(0.3) {
            self.set_availability(name, Availability::Open);
        }
    }

    /// False if nobody is there to do it.
    pub(crate) fn set_availability(&mut self, name: ClusterName, availability: Availability) -> bool {
        let command = Command::SetAvailability {
            name,
            availability,
            present: Present::Stay,
        };
        self.command(Origin::Own, command)
    }

    fn look_again(&mut self, agent: usize) {
        let pause = self.draw_time(Duration::from_secs(3));
        self.schedule.after(pause, Item::LookAtDrain { agent });
    }

    /// Removes a cluster that is drained, as the master says.
    pub(crate) fn look_at_drain(&mut self, agent: usize) {
        if self.healed {
            return;
        }
        let name = self.agents[agent].name.clone();
        match self.master.is_drained(&name) {
            Some(true) => {
                let (origin, caution) = (Origin::Drained(name.clone()), Caution::Needs);
                self.command(origin, Command::RemoveCluster { name, caution });
                let later = self.draw_time(Duration::from_secs(30));
                self.schedule.after(later, Item::Readmit);
            }
            Some(false) => self.look_again(agent),
            // Nobody is there to ask, or it takes jobs again.
            None if !self.master.is_led() => self.look_again(agent),
            None => {}
        }
    }

    /// Notes that a cluster was removed that was drained, what ran again because of that, and what there is for jobs that wait.
    pub(crate) fn note_drained(&mut self, cluster: ClusterName, recovered: Vec<JobId>, given: Vec<Given>) {
        // What faults take from stores says nothing of drains.
        let had = |name: &ClusterName, manifest| {
            let agent = self.agents.iter().find(|agent| agent.name == *name);
            agent.is_some_and(|agent| agent.store.had(manifest))
        };
        let nowhere = given
            .into_iter()
            .filter(|(_, manifest, holders)| !holders.iter().any(|holder| had(holder, *manifest)));
        let nowhere = nowhere.map(|(job, ..)| job).collect();
        let fact = Fact::DrainedRemoved {
            cluster,
            recovered,
            nowhere,
        };
        self.history.fact(self.schedule.now(), fact);
    }

    /// An agent is to bring something and say so.
    pub(crate) fn begin_copy(&mut self, index: usize, prefetch: Prefetch) {
        if prefetch.confirm {
            self.soon(index, Step::Copy(Box::new(prefetch)));
        }
    }

    pub(crate) fn copy(&mut self, index: usize, prefetch: &Prefetch) {
        let (job, manifest) = (prefetch.input.job, prefetch.input.output.manifest);
        let refuses = self.agents[index].store.refuses(self.schedule.now());
        let stage = match refuses {
            _ if self.bug == Some(Bug::CopyNotThere) => CopyStage::Whole,
            true => CopyStage::Failed("the store of the cluster does not answer".to_owned()),
            false => match self.bring(index, &prefetch.input, Upload::Ahead(manifest)) {
                Ok(_) => {
                    self.keep_for_a_while(index, manifest);
                    CopyStage::Whole
                }
                Err(_) => CopyStage::Failed("nobody gave it".to_owned()),
            },
        };
        self.tell_agent(index, Event::Copied(Copied { job, manifest, stage }));
    }
}
