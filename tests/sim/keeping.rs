//! What projects keep: the master's looks at what goes by the policy, its answers to sweeps, and the end of a world in which something goes.
//!
//! In these worlds a day of the policies takes some seconds ([`Keeping::DAY`]). Looks and answers read the masters' database, by the calendar of
//! the machine that has asked it.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use tombolo_core::build::BuildState;
use tombolo_core::control::Command;
use tombolo_core::control::record::{Build, JobNode, JobStatus};
use tombolo_core::digest::Digest;
use tombolo_core::name::ClusterName;
use tombolo_core::retention::{Kept, plan};
use tombolo_core::time::Timestamp;
use tombolo_tests::history::{Fact, Keeping, Stored};

use crate::agent::{Question, Step};
use crate::master::{Origin, PROJECT, Store};
use crate::world::{Item, World};

/// How often the one who leads looks what goes.
const LOOK: Duration = Duration::from_secs(6);

impl World {
    /// The project's policy is there before anything can fail.
    pub(crate) fn retention_setup(&mut self) -> Option<Command> {
        let keeping = self.scenario.keeping.clone()?;
        let retention = Some(keeping.policy);
        self.history.fact(Duration::ZERO, Fact::Keeping(keeping));
        Some(Command::SetRetention { id: PROJECT, retention })
    }

    pub(crate) fn plan_look(&mut self, life: u64) {
        if self.scenario.keeping.is_some() {
            let pause = self.draw_time(LOOK);
            self.schedule.after(pause, Item::LookWhatGoes { life });
        }
    }

    /// One that leads looks what goes, and gives it up a moment later.
    pub(crate) fn look_what_goes(&mut self, life: u64) {
        let now = self.schedule.now();
        let Some(keeping) = &self.scenario.keeping else { return };
        let Some(clock) = self.master.clock_of(life) else {
            return;
        };
        let today = keeping.stretch(Self::now_of(now, clock).wall);
        let store = self.master.store();
        let mut builds: Vec<&Build> = store
            .builds
            .values()
            .filter(|build| build.released_at.is_none())
            .collect();
        builds.sort_by_key(|build| std::cmp::Reverse(build.number));
        let shorten = |build: &&Build| Kept {
            build: build.id,
            ended_at: (build.state != BuildState::Running)
                .then(|| keeping.stretch(build.ended_at.unwrap_or(build.created_at))),
            bytes: bytes(store, keeping, build, today),
        };
        let kept: Vec<Kept> = builds.iter().map(shorten).collect();
        let going = plan(keeping.policy, today, &kept);
        let going = going.iter().filter_map(|one| store.builds.get(&one.build));
        let going: Vec<Build> = going.cloned().collect();
        for build in going {
            let delay = self.draw_time(self.scenario.commit_time * 2);
            let build = Box::new(build);
            self.schedule.after(delay, Item::GiveUp { life, build });
        }
        self.plan_look(life);
    }

    pub(crate) fn give_up(&mut self, life: u64, build: Box<Build>) {
        self.command_to(life, Origin::Own, Command::ReleaseOutputs(build));
    }

    /// A master hears what a sweep asks, and answers if it can.
    pub(crate) fn find_wanted(&mut self, agent: usize, life: u64, question: Box<Question>) {
        let now = self.schedule.now();
        let name = self.agents[agent].name.clone();
        let (Some(leader), Some(keeping)) = (self.draw_leader(), &self.scenario.keeping) else {
            return;
        };
        let Some(clock) = self.master.clock_of(leader) else {
            return;
        };
        if self.network.is_cut(agent) || !self.master.knows(&name) {
            return;
        }
        let today = keeping.stretch(Self::now_of(now, clock).wall);
        let wanted = wanted(self.master.store(), keeping, &name, today);
        let wanted = question.manifests.iter().filter(|manifest| wanted.contains(manifest));
        let wanted = wanted.copied().collect();
        let delay = self.draw_time(self.scenario.latency);
        let step = Step::Answered(question, wanted);
        self.schedule.after(delay, Item::AgentStep { agent, life, step });
    }

    /// Whether everything is over, and what is let go has had its time to go since.
    pub(crate) fn is_over(&mut self) -> bool {
        if !self.is_clean() {
            // Somebody may have come late.
            self.over_since = None;
            return false;
        }
        let now = self.schedule.now();
        let over = *self.over_since.get_or_insert(now);
        self.scenario.keeping.is_none() || now >= over + Keeping::TIME_TO_GO
    }

    /// What is in the stores at the end.
    pub(crate) fn note_stores(&mut self) {
        if self.scenario.keeping.is_none() {
            return;
        }
        let now = self.schedule.now();
        for agent in self.agents.iter().filter(|agent| !agent.is_dead()) {
            let manifests = agent.store.manifests();
            let stored = manifests.map(|manifest| Stored {
                manifest,
                whole: agent.store.has_whole(manifest),
            });
            self.history.fact(
                now,
                Fact::InStore {
                    cluster: agent.name.clone(),
                    stored: stored.collect(),
                    unlisted: agent.store.unlisted(),
                },
            );
        }
    }
}

/// Whether the output of a job is kept, as far as the job's file and its build say.
fn is_kept(keeping: &Keeping, build: &Build, node: &JobNode, today: Timestamp) -> bool {
    let stretched = Build {
        ended_at: build.ended_at.map(|at| keeping.stretch(at)),
        ..build.clone()
    };
    build.released_at.is_none() && node.output_expiry(&stretched).is_none_or(|expiry| expiry > today)
}

/// The bytes of the outputs of a build.
fn bytes(store: &Store, keeping: &Keeping, build: &Build, today: Timestamp) -> u64 {
    let of_build = store.statuses.values().filter_map(|status| {
        let node = store.node(status.id).filter(|node| node.build == build.id)?;
        let output = status.kept_output()?;
        is_kept(keeping, build, node, today).then_some(output.bytes)
    });
    of_build.sum()
}

/// The outputs that a cluster is to keep: those that are kept, of builds that it has something of, and copies that it was given.
fn wanted(store: &Store, keeping: &Keeping, cluster: &ClusterName, today: Timestamp) -> BTreeSet<Digest> {
    let here = |status: &&JobStatus| status.cluster.as_ref() == Some(cluster);
    let of_here = store.statuses.values().filter(here);
    let builds: BTreeSet<_> = of_here
        .filter_map(|status| Some(store.node(status.id)?.build))
        .collect();
    let wanted = store.statuses.values().filter_map(|status| {
        let output = status.kept_output()?;
        let node = store.node(status.id)?;
        let build = store.builds.get(&node.build)?;
        let here = builds.contains(&build.id) || status.copies().contains(cluster);
        (here && is_kept(keeping, build, node, today)).then_some(output.manifest)
    });
    wanted.collect()
}

/// Why an output is not kept any more, as whoever runs a build again asks.
pub(crate) fn gone(
    keeping: Option<&Keeping>,
    build: &Build,
    node: &JobNode,
    status: &JobStatus,
    now: Timestamp,
) -> Option<String> {
    status.output?;
    let lost = status.output_lost().map(str::to_owned);
    let given_up = || {
        let keeping = keeping?;
        (!is_kept(keeping, build, node, keeping.stretch(now))).then(|| "it is not kept any more".to_owned())
    };
    lost.or_else(given_up)
}

/// What a project of a world keeps.
pub(crate) fn draw(rng: &mut rand_chacha::ChaCha8Rng) -> Keeping {
    let mut limit = |least: u32, most: u32| rng.random_bool(0.4).then(|| rng.random_range(least..=most));
    Keeping {
        policy: tombolo_core::retention::Policy {
            builds: limit(1, 4),
            days: limit(1, 4),
            bytes: limit(20, 200).map(u64::from),
        },
        sweep_pause: Duration::from_secs(rng.random_range(4..=8)),
    }
}
