//! What kind of world a seed makes.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// What may go wrong, and how often. Until [`Self::heal_at`]; after that nothing does.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    /// Everything is about leases: slow networks, outages about as long as they, and commands that end with them.
    pub(crate) tense: bool,
    pub(crate) agents: usize,
    pub(crate) builds: usize,
    /// The most jobs of a build.
    pub(crate) jobs: usize,
    /// The first cluster ends for good; no job asks for it by its labels.
    pub(crate) one_dies: bool,
    /// Users cancel builds and jobs.
    pub(crate) cancels: bool,
    pub(crate) heal_at: Duration,
    /// The longest time that bytes are on their way.
    pub(crate) latency: Duration,
    /// The longest time of a commit.
    pub(crate) commit_time: Duration,
    /// The longest time that a command runs.
    pub(crate) command_time: Duration,
    /// What the nemesis may do.
    pub(crate) faults: Vec<Fault>,
    /// The longest pause between two things that the nemesis does.
    pub(crate) fault_pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing goes through between the master and an agent, in one direction or both; connections stay open.
    Partition,
    /// Connections break; each end may notice or not.
    Break,
    /// The master's process ends.
    CrashMaster,
    /// Nobody answers any more where the master was.
    LoseMaster,
    /// The agent's process ends; supervisors go on.
    CrashAgent,
    /// Another process of the agent takes the place of one that has asked for the handover lease.
    ReplaceAgent,
    /// The agent's machine ends; its disk stays.
    CrashNode,
    /// The agent's machine ends with its disk.
    WipeNode,
    /// The database cannot be used.
    LoseDatabase,
    /// The next commits fail, or their ends are not known.
    FailCommits,
    /// Everything takes much longer.
    SlowDown,
}

const ALL_FAULTS: [Fault; 11] = [
    Fault::Partition,
    Fault::Break,
    Fault::CrashMaster,
    Fault::LoseMaster,
    Fault::CrashAgent,
    Fault::ReplaceAgent,
    Fault::CrashNode,
    Fault::WipeNode,
    Fault::LoseDatabase,
    Fault::FailCommits,
    Fault::SlowDown,
];

/// Faults of worlds that are about leases.
const TENSE_FAULTS: [Fault; 5] = [
    Fault::Partition,
    Fault::Break,
    Fault::CrashMaster,
    Fault::CrashAgent,
    Fault::SlowDown,
];

impl Scenario {
    /// Every tenth world is calm; in the others each kind of trouble is there or not. Some are tense.
    pub(crate) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let calm = rng.random_bool(0.1);
        let tense = rng.random_bool(0.3);
        let milliseconds =
            |rng: &mut ChaCha8Rng, choices: &[u64]| Duration::from_millis(choices[rng.random_range(0..choices.len())]);
        let kinds: &[Fault] = if tense { &TENSE_FAULTS } else { &ALL_FAULTS };
        let chance = |fault| if fault == Fault::WipeNode { 0.15 } else { 0.4 };
        let drawn = kinds.iter().filter(|fault| rng.random_bool(chance(**fault))).copied();
        let mut faults: Vec<Fault> = drawn.collect();
        if faults.is_empty() || tense {
            faults.push(Fault::Partition);
        }
        let agents = rng.random_range(1..=3).max(if tense { 2 } else { 1 });
        Self {
            tense,
            agents,
            one_dies: agents > 1 && !calm && rng.random_bool(0.15),
            builds: rng.random_range(1..=6),
            jobs: rng.random_range(1..=8),
            cancels: rng.random_bool(0.6),
            heal_at: Duration::from_secs(rng.random_range(30..=150)),
            latency: milliseconds(rng, if tense { &[200, 2000] } else { &[2, 20, 200, 1000] }),
            commit_time: milliseconds(rng, &[0, 5, 50, 500]),
            command_time: milliseconds(rng, &[500, 5_000, 20_000]),
            faults: if calm { Vec::new() } else { faults },
            fault_pause: milliseconds(rng, if tense { &[6_000] } else { &[1_000, 4_000, 12_000] }),
        }
    }

    /// The world after the end of all trouble.
    pub(crate) fn heal(&mut self) {
        self.latency = Duration::from_millis(20);
        self.commit_time = Duration::from_millis(5);
        self.faults.clear();
    }
}

/// Some time up to `longest`, at least a tenth of a millisecond.
pub(crate) fn draw_time(rng: &mut ChaCha8Rng, longest: Duration) -> Duration {
    let least = Duration::from_micros(100);
    rng.random_range(least..=longest.max(least))
}
