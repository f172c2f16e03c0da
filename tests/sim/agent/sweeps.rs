//! A model of the sweeps of a cluster's store, by the product's rule: what nobody needs is condemned, and deleted once no upload can rely on it.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_core::attempt::Phase;
use tombolo_core::digest::Digest;
use tombolo_tests::history::Fact;

use super::store::{Stage, Upload};
use super::{Agent, Step, Stored};
use crate::world::{Bug, Item, World};

/// How long what was brought for others is kept without anybody's word.
const KEPT_AHEAD: Duration = Duration::from_secs(60);

/// What a sweep asks the master.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// Which outputs it is about.
    pub(crate) manifests: Vec<Digest>,
    /// Those that the cluster needs itself, as it was when it was asked.
    needed: BTreeSet<Digest>,
    /// What is done with the answer.
    stage: Stage,
    /// When it was asked, in the time of the world.
    asked: Duration,
}

impl Agent {
    /// What the attempts on the disk read or leave behind, and what was brought for others.
    fn needs(&self, now: Duration) -> BTreeSet<Digest> {
        let of_attempt = |stored: &Stored| {
            let inputs = stored.assignment.inputs.iter().map(|input| input.output.manifest);
            let left = match &stored.phase {
                Phase::Ended(outcome) => outcome.output.map(|output| output.manifest),
                _ => None,
            };
            inputs.chain(left).collect::<Vec<_>>()
        };
        let brought = self.process.iter().flat_map(|process| &process.brought);
        let brought = brought
            .filter(|(_, until)| now < **until)
            .map(|(manifest, _)| *manifest);
        self.disk.values().flat_map(of_attempt).chain(brought).collect()
    }
}

impl World {
    /// What was brought for others stays until the master has heard of it.
    pub(crate) fn keep_for_a_while(&mut self, index: usize, manifest: Digest) {
        let until = self.schedule.now() + KEPT_AHEAD;
        if let Some(process) = &mut self.agents[index].process {
            process.brought.insert(manifest, until);
        }
    }

    pub(super) fn plan_sweep(&mut self, index: usize) {
        let Some(keeping) = &self.scenario.keeping else {
            return;
        };
        let (least, life) = (keeping.sweep_pause, self.agents[index].life);
        let pause = least + self.draw_time(least);
        let (agent, step) = (index, Step::Sweep);
        self.schedule.after(pause, Item::AgentStep { agent, life, step });
    }

    /// Begins, or goes on with what an earlier one did not get done.
    pub(super) fn sweep(&mut self, index: usize) {
        self.plan_sweep(index);
        let now = self.schedule.now();
        let agent = &mut self.agents[index];
        if agent.store.refuses(now) {
            return;
        }
        let disk = &agent.disk;
        // What is brought ahead is brought in one moment here.
        let goes_on = |upload: &Upload| matches!(upload, Upload::Attempt(attempt) if disk.contains_key(attempt));
        agent.store.uploads.retain(|upload, _| goes_on(upload));
        match agent.store.stage {
            Stage::Settled => {
                agent.store.stage = Stage::Condemning;
                self.ask_what_is_wanted(index, Stage::Condemning);
            }
            // Of a sweep that was cut off. Uploads of its round may have seen what was condemned later.
            Stage::Condemning => self.end_round(index),
            Stage::Settling => self.settle_if_alone(index),
        }
    }

    fn end_round(&mut self, index: usize) {
        let store = &mut self.agents[index].store;
        store.round += 1;
        store.stage = Stage::Settling;
        self.settle_if_alone(index);
    }

    /// Goes on once no upload of an earlier round is under way.
    fn settle_if_alone(&mut self, index: usize) {
        let store = &self.agents[index].store;
        let waits = store.uploads.values().any(|round| *round < store.round);
        if !waits || self.bug == Some(Bug::SweepWaitsForNobody) {
            self.ask_what_is_wanted(index, Stage::Settling);
        }
    }

    /// First looks what the cluster needs itself: what the master takes meanwhile, it wants.
    fn ask_what_is_wanted(&mut self, index: usize, stage: Stage) {
        let asked = self.schedule.now();
        let agent = &self.agents[index];
        let question = Box::new(Question {
            manifests: agent.store.asked_about(stage == Stage::Settling),
            needed: agent.needs(asked),
            stage,
            asked,
        });
        let life = agent.life;
        let delay = self.draw_time(self.scenario.latency);
        let agent = index;
        self.schedule.after(delay, Item::FindWanted { agent, life, question });
    }

    /// The master has answered. If it did not, nothing goes.
    pub(super) fn go_on_sweeping(&mut self, index: usize, question: &Question, wanted: &[Digest]) {
        let now = self.schedule.now();
        let store = &mut self.agents[index].store;
        if store.stage != question.stage || store.refuses(now) {
            return;
        }
        let is_kept = |manifest: &&Digest| question.needed.contains(manifest) || wanted.contains(manifest);
        let kept: BTreeSet<Digest> = question.manifests.iter().filter(is_kept).copied().collect();
        if question.stage == Stage::Condemning {
            let others = question.manifests.iter().filter(|manifest| !kept.contains(manifest));
            store.condemn(&others.copied().collect(), &question.manifests);
            return self.end_round(index);
        }
        let kept = match self.bug {
            Some(Bug::SweepAsksOnce) => BTreeSet::new(),
            _ => kept,
        };
        if self.bug == Some(Bug::SweepDeletesNothing) {
            return;
        }
        let swept = store.settle(&kept, &question.manifests);
        store.stage = Stage::Settled;
        let cluster = self.agents[index].name.clone();
        for manifest in swept.broken {
            let cluster = cluster.clone();
            self.history.fact(now, Fact::Broken { cluster, manifest });
        }
        if !swept.deleted.is_empty() {
            let (manifests, asked) = (swept.deleted, question.asked);
            self.history.fact(
                now,
                Fact::Swept {
                    cluster,
                    manifests,
                    asked,
                },
            );
        }
    }
}
