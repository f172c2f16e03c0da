//! What kind of world a seed makes.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tombolo_tests::history::Keeping;

use crate::keeping;

/// What may go wrong, and how often. Until [`Self::heal_at`]; after that nothing does.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// With several, one leads at a time.
    pub(crate) masters: usize,
    /// Everything is about leases: slow networks, outages about as long as they, and commands that end with them.
    pub(crate) tense: bool,
    pub(crate) agents: usize,
    pub(crate) builds: usize,
    /// The most jobs of a build.
    pub(crate) jobs: usize,
    pub(crate) heal_at: Duration,
    /// The share of frames that get lost.
    pub(crate) loss: f64,
    /// The share of frames that come twice.
    pub(crate) duplication: f64,
    /// Whether frames may overtake each other.
    pub(crate) reorder: bool,
    /// The longest usual delay of a frame.
    pub(crate) latency: Duration,
    /// The share of commits that fail or whose end is not known.
    pub(crate) commit_failures: f64,
    /// The longest usual time of a commit.
    pub(crate) commit_time: Duration,
    /// The first cluster dies for good; no job asks for it by its labels.
    pub(crate) one_dies: bool,
    /// The share of commands that run until they are stopped.
    pub(crate) hanging: f64,
    /// Users cancel builds and jobs.
    pub(crate) cancels: bool,
    /// What the nemesis may do.
    pub(crate) faults: Vec<Fault>,
    /// The longest pause between two things that the nemesis does.
    pub(crate) fault_pause: Duration,
    /// The longest usual time that a command runs.
    pub(crate) command_time: Duration,
    /// What the project keeps, if it does not keep everything for ever.
    pub(crate) keeping: Option<Keeping>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing goes through between the master and an agent, in one direction or both; connections stay open.
    Partition,
    /// A connection breaks; each end may notice or not.
    Break,
    CrashMaster,
    /// A master does not reach the database any more, and does reach everybody else.
    CutDatabase,
    /// The agent's process ends; supervisors go on.
    CrashAgent,
    /// Another process of the agent takes the place of one that has asked for the handover lease.
    ReplaceAgent,
    /// The agent's machine ends; its disk stays.
    CrashNode,
    /// The agent's machine ends with its disk.
    WipeNode,
    /// A cluster's store loses all that is in it.
    EmptyStore,
    /// A store carries nothing out for a while.
    RefusingStore,
    /// A store carries out for a while what it is to write, and says that it could not.
    LyingStore,
    /// A store takes its time.
    SlowStore,
    /// Bytes in a store are not what they were.
    DamageOutput,
    /// A store loses an output, or some of it.
    LoseOutput,
    /// A cluster is removed, and comes back some time later.
    RemoveCluster,
    /// A cluster is drained, and removed when nothing is left on it; it comes back some time later.
    DrainCluster,
}

const ALL_FAULTS: [Fault; 16] = [
    Fault::Partition,
    Fault::Break,
    Fault::CrashMaster,
    Fault::CutDatabase,
    Fault::CrashAgent,
    Fault::ReplaceAgent,
    Fault::CrashNode,
    Fault::WipeNode,
    Fault::EmptyStore,
    Fault::RefusingStore,
    Fault::LyingStore,
    Fault::SlowStore,
    Fault::DamageOutput,
    Fault::LoseOutput,
    Fault::RemoveCluster,
    Fault::DrainCluster,
];

impl Scenario {
    /// Every tenth world is calm; in the others each kind of trouble is there or not. Some are tense, or all, if `tense` says so.
    pub(crate) fn draw(rng: &mut ChaCha8Rng, tense: bool) -> Self {
        let calm = rng.random_bool(0.1);
        let mut share = |chance: f64, most: f64| {
            let some = !calm && rng.random_bool(chance);
            if some { rng.random_range(0.0..most) } else { 0.0 }
        };
        let (loss, duplication, commit_failures) = (share(0.5, 0.2), share(0.5, 0.2), share(0.4, 0.1));
        let faults = if calm {
            Vec::new()
        } else {
            ALL_FAULTS
                .into_iter()
                .filter(|fault| rng.random_bool(fault.chance()))
                .collect()
        };
        let milliseconds =
            |rng: &mut ChaCha8Rng, choices: &[u64]| Duration::from_millis(choices[rng.random_range(0..choices.len())]);
        let agents = rng.random_range(1..=4);
        let drawn = Self {
            tense: false,
            masters: if rng.random_bool(0.5) { 2 } else { 1 },
            agents,
            one_dies: agents > 1 && !calm && rng.random_bool(0.1),
            hanging: if rng.random_bool(0.3) { 0.1 } else { 0.0 },
            builds: rng.random_range(1..=5),
            jobs: rng.random_range(1..=8),
            heal_at: Duration::from_secs(rng.random_range(20..=80)),
            loss,
            duplication,
            reorder: !calm && rng.random_bool(0.5),
            latency: milliseconds(rng, &[2, 20, 200, 2000]),
            commit_failures,
            commit_time: milliseconds(rng, &[1, 5, 50, 1000]),
            cancels: rng.random_bool(0.6),
            faults,
            fault_pause: milliseconds(rng, &[2_000, 8_000, 20_000]),
            command_time: milliseconds(rng, &[100, 3_000, 15_000]),
            keeping: None,
        };
        match tense || (!calm && rng.random_bool(0.25)) {
            true => drawn.tense(rng),
            false if rng.random_bool(0.4) => drawn.keeping(rng),
            false => drawn,
        }
    }

    /// A world in which leases end all the time.
    fn tense(self, rng: &mut ChaCha8Rng) -> Self {
        let faults = [
            Fault::Partition,
            Fault::Break,
            Fault::CutDatabase,
            Fault::CrashMaster,
            Fault::RemoveCluster,
        ];
        let drawn = faults.into_iter().filter(|_| rng.random_bool(0.6));
        let faults: Vec<Fault> = drawn.chain([Fault::Partition]).collect();
        Self {
            tense: true,
            agents: rng.random_range(2..=4),
            builds: rng.random_range(3..=5),
            faults,
            fault_pause: Duration::from_secs(6),
            latency: Duration::from_secs(2),
            commit_time: Duration::from_millis(if rng.random_bool(0.5) { 1000 } else { 50 }),
            command_time: Duration::from_secs(20),
            ..self
        }
    }

    /// A world in which outputs go: many small builds.
    fn keeping(self, rng: &mut ChaCha8Rng) -> Self {
        Self {
            builds: rng.random_range(3..=7),
            jobs: self.jobs.min(5),
            keeping: Some(keeping::draw(rng)),
            ..self
        }
    }

    /// The world after the end of all trouble.
    pub(crate) fn heal(&mut self) {
        self.loss = 0.0;
        self.duplication = 0.0;
        self.reorder = false;
        self.latency = Duration::from_millis(20);
        self.commit_failures = 0.0;
        self.commit_time = Duration::from_millis(5);
        self.faults.clear();
    }
}

impl Fault {
    fn chance(self) -> f64 {
        match self {
            Self::WipeNode | Self::RemoveCluster => 0.15,
            _ => 0.4,
        }
    }
}
