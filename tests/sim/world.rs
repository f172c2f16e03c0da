//! A simulated world: one master, some agents, the network between them, users and a nemesis, all driven by one seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tombolo_core::control::record::Build;
use tombolo_core::digest::Digest;
use tombolo_core::id::AttemptId;
use tombolo_core::session::{AgentFrame, MasterFrame};
use tombolo_core::time::{Moment, Now, Timestamp};
use tombolo_tests::history::{History, Keeping, Outcome, Recording};

use crate::agent::{Agent, Logged, Question, Step};
use crate::master::generated::Reader;
use crate::master::{Batch, Lines, Master, Turn};
use crate::network::Network;
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::users::{Act, Users};

/// How long after the healing everything must be over. The master may have to give clusters up first, several times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(900);

/// The calendar at the beginning of every world.
const BIRTH: u64 = Keeping::BIRTH;

/// Something to happen in the world. Numbers of lives guard against what was meant for a process that is gone.
#[derive(Debug)]
pub(crate) enum Item {
    ToMaster(u64, AgentFrame),
    ToAgent(u64, MasterFrame),
    MasterEndBroke(u64),
    AgentEndBroke(u64),
    Dial {
        agent: usize,
        life: u64,
    },
    AgentTick {
        agent: usize,
        life: u64,
    },
    AgentStep {
        agent: usize,
        life: u64,
        step: Step,
    },
    AgentLeaves {
        agent: usize,
        life: u64,
    },
    AgentStart {
        agent: usize,
    },
    MasterTick {
        life: u64,
    },
    MasterCommit {
        life: u64,
        batch: Box<Batch>,
    },
    MasterStart {
        machine: usize,
    },
    Leadership {
        machine: usize,
        start: u64,
        turn: Turn,
    },
    MendDatabase {
        machine: usize,
    },
    Logs {
        agent: usize,
        start: u64,
        lines: Lines,
    },
    Logged {
        agent: usize,
        start: u64,
        attempt: AttemptId,
        answer: Logged,
    },
    User(Act),
    Nemesis,
    Bury {
        agent: usize,
    },
    Mend {
        agent: usize,
    },
    Heal,
    /// All clusters that were removed are let in again, and those that are drained take jobs again.
    Readmit,
    /// A master looks what its projects do not keep any more.
    LookWhatGoes {
        life: u64,
    },
    /// It gives the outputs of a build up.
    GiveUp {
        life: u64,
        build: Box<Build>,
    },
    /// A master hears what a sweep asks.
    FindWanted {
        agent: usize,
        life: u64,
        question: Box<Question>,
    },
    /// Somebody looks whether a cluster is drained.
    LookAtDrain {
        agent: usize,
    },
    /// One of them is, if somebody is there to do it.
    ReadmitOne {
        agent: usize,
    },
    /// What still runs is cancelled.
    CancelAll,
}

/// A mistake in the simulated world (never in the product) that the checkers have to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The master's driver lets effects out before their changes are durable.
    EffectsBeforeCommit,
    /// The master's driver takes a failed commit for a success.
    FailedCommitIgnored,
    /// The master's store loses its last transaction in a crash, though it had said that it was durable.
    StoreForgetsLastCommit,
    /// The agent says that it has an attempt, and did not write it down.
    AcceptedNotPersisted,
    /// Reports of an old attempt are taken for the latest one's.
    NetworkRewritesEpochs,
    /// The executor starts although an input did not come.
    InputSkipped,
    /// The master's driver leaves an input out of the assignment.
    InputNotAssigned,
    /// Orders reach another cluster than the one that they are for.
    OrdersMisrouted,
    /// The master's driver answers a cancellation, and does not give it to the control plane.
    CancelNotApplied,
    /// The executor says nothing of the end of a command.
    EndNotReported,
    /// A forgotten attempt stays on the disk.
    ForgetIgnored,
    /// A released volume stays on the disk.
    ReleaseIgnored,
    /// A command that ends with its cluster's lease goes on.
    LeaseOutlived,
    /// An agent says that it has a copy, and has not.
    CopyNotThere,
    /// The executor unpacks what is damaged as if it was not.
    DamageNotSeen,
    /// An agent says that nobody has an output, where a store or a cluster did not answer.
    RefusalTakenForLoss,
    /// A sweep deletes what is condemned although an upload may rely on it.
    SweepWaitsForNobody,
    /// A sweep deletes what is condemned without asking again who needs it.
    SweepAsksOnce,
    /// Sweeps condemn, and delete nothing.
    SweepDeletesNothing,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) scenario: Scenario,
    pub(crate) bug: Option<Bug>,
    pub(crate) schedule: Schedule<Item>,
    pub(crate) history: History,
    pub(crate) network: Network,
    pub(crate) master: Master,
    pub(crate) agents: Vec<Agent>,
    pub(crate) users: Users,
    pub(crate) generated: Reader,
    pub(crate) healed: bool,
    /// When everything was over, but for what is swept.
    pub(crate) over_since: Option<Duration>,
    /// Counts all that needs a number of its own.
    serial: u128,
}

impl World {
    /// Runs a world to its end.
    pub(crate) fn run(seed: u64, bug: Option<Bug>, recording: Recording) -> Outcome {
        Self::run_kind(seed, bug, recording, false)
    }

    /// The same; `tense`: whether it has to be a world that is about leases.
    pub(crate) fn run_kind(seed: u64, bug: Option<Bug>, recording: Recording, tense: bool) -> Outcome {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scenario = Scenario::draw(&mut rng, tense);
        let mut world = Self {
            agents: Agent::draw_all(&scenario, &mut rng),
            rng,
            bug,
            schedule: Schedule::new(),
            history: History::new(recording),
            network: Network::default(),
            master: Master::default(),
            users: Users::default(),
            generated: Reader::default(),
            healed: false,
            over_since: None,
            serial: 0,
            scenario,
        };
        let scenario = format!("{:?}", world.scenario);
        world.history.note(Duration::ZERO, || scenario);
        world.begin();
        let mut steps = 0;
        let end = world.scenario.heal_at + PATIENCE;
        while let Some(item) = world.schedule.next() {
            steps += 1;
            if world.schedule.now() > end || (world.healed && world.is_over()) {
                break;
            }
            world.step(item);
        }
        world.note_stores();
        Outcome {
            leftovers: world.leftovers(),
            history: world.history,
            steps,
        }
    }

    fn begin(&mut self) {
        self.draw_machines();
        self.master_setup();
        self.note_capacities();
        for agent in 0..self.agents.len() {
            self.schedule
                .after(Duration::from_millis(5), Item::AgentStart { agent });
        }
        self.plan_users();
        if !self.scenario.faults.is_empty() {
            self.schedule.after(Duration::from_secs(1), Item::Nemesis);
        }
        if self.scenario.one_dies {
            let at = self.draw_time(self.scenario.heal_at);
            self.schedule.at(at, Item::Bury { agent: 0 });
        }
        self.schedule.at(self.scenario.heal_at, Item::Heal);
    }

    fn step(&mut self, item: Item) {
        match item {
            Item::ToMaster(connection, frame) => self.arrive_at_master(connection, frame),
            Item::ToAgent(connection, frame) => self.arrive_at_agent(connection, frame),
            Item::MasterEndBroke(connection) => self.master_end_broke(connection),
            Item::AgentEndBroke(connection) => self.agent_end_broke(connection),
            Item::Dial { agent, life } => self.dial(agent, life),
            Item::AgentTick { agent, life } => self.agent_tick(agent, life),
            Item::AgentStep { agent, life, step } => self.agent_step(agent, life, step),
            Item::AgentLeaves { agent, life } => self.end_agent(agent, life),
            Item::AgentStart { agent } => self.start_agent(agent),
            Item::MasterTick { life } => self.master_tick(life),
            Item::MasterCommit { life, batch } => self.master_committed(life, batch),
            Item::MasterStart { machine } => self.start_master(machine),
            Item::Leadership { machine, start, turn } => self.leadership(machine, start, turn),
            Item::MendDatabase { machine } => self.cut_database(machine, false),
            Item::Logs { agent, start, lines } => self.logs_arrive(agent, start, lines),
            Item::Logged {
                agent,
                start,
                attempt,
                answer,
            } => self.logged(agent, start, attempt, answer),
            Item::User(act) => self.user_acts(act),
            Item::Nemesis => self.nemesis(),
            Item::Bury { agent } => self.bury_agent(agent),
            Item::Mend { agent } => self.network.mend(agent),
            Item::Heal => self.heal(),
            Item::CancelAll => self.cancel_all(),
            Item::Readmit => self.readmit_all(),
            Item::LookWhatGoes { life } => self.look_what_goes(life),
            Item::GiveUp { life, build } => self.give_up(life, build),
            Item::FindWanted { agent, life, question } => self.find_wanted(agent, life, question),
            Item::LookAtDrain { agent } => self.look_at_drain(agent),
            Item::ReadmitOne { agent } => drop(self.readmit(agent)),
        }
    }

    /// Whether there would be no leftovers. It is asked after each step.
    pub(crate) fn is_clean(&self) -> bool {
        self.master.is_over() && self.agents.iter().all(Agent::is_clean)
    }

    /// What is not over, and what is still on disks.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut leftovers = self.master.leftovers();
        if leftovers.is_empty() {
            leftovers.extend(self.agents.iter().flat_map(Agent::leftovers));
        }
        leftovers
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        self.history.note(self.schedule.now(), line);
    }

    /// What a process with this clock calls now.
    pub(crate) fn now_at(&self, clock: Clock) -> Now {
        Self::now_of(self.schedule.now(), clock)
    }

    /// What a process with this clock calls a time of the world.
    pub(crate) fn now_of(now: Duration, clock: Clock) -> Now {
        Now {
            wall: Timestamp(BIRTH + clock.wall_ahead + u64::try_from(now.as_millis()).unwrap_or(u64::MAX)),
            steady: Moment(now + clock.steady_ahead),
        }
    }

    /// The time of the world when a process with this clock calls it `moment`.
    pub(crate) fn time_at(clock: Clock, moment: Moment) -> Duration {
        moment.0.saturating_sub(clock.steady_ahead)
    }

    pub(crate) fn draw_clock(&mut self) -> Clock {
        Clock {
            // Days are short where outputs go.
            wall_ahead: self
                .rng
                .random_range(0..self.scenario.keeping.as_ref().map_or(600_000, |_| Keeping::MOST_AHEAD)),
            steady_ahead: Duration::from_secs(self.rng.random_range(1_000..100_000)),
        }
    }

    pub(crate) fn draw_time(&mut self, longest: Duration) -> Duration {
        let least = Duration::from_micros(100);
        self.rng.random_range(least..=longest.max(least))
    }

    /// A number that nothing else in this world has.
    pub(crate) const fn fresh(&mut self) -> u128 {
        self.serial += 1;
        self.serial
    }

    pub(crate) fn fresh_digest(&mut self) -> Digest {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.fresh().to_be_bytes());
        Digest::new(bytes)
    }
}

/// How the clocks of a process differ from the world's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    wall_ahead: u64,
    steady_ahead: Duration,
}
