//! An agent: its end of the link, a model of its executor, and a disk that survives them.

mod exclusive;
mod executor;
mod outputs;
mod shipping;
pub(crate) mod store;
mod sweeps;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tombolo_core::attempt::{Assignment, Outcome, Phase};
use tombolo_core::digest::Digest;
use tombolo_core::id::AttemptId;
use tombolo_core::label::Labels;
use tombolo_core::name::ClusterName;
use tombolo_core::resources::Resources;
use tombolo_core::session::agent::{Action, Event, Session, Settings};
use tombolo_core::session::{AttemptReport, Capability, Hello, MasterFrame, OrderFrame};
use tombolo_core::volume::VolumeId;

pub(crate) use self::executor::Step;
pub(crate) use self::shipping::Logged;
use self::shipping::Shipped;
use self::store::Store;
pub(crate) use self::store::{Mood, Upload};
pub(crate) use self::sweeps::Question;
use crate::scenario::Scenario;
use crate::world::{Bug, Clock, Item, World};
use tombolo_tests::history::Fact;

/// A cluster.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) name: ClusterName,
    /// The labels that the master gives it.
    pub(crate) labels: Labels,
    capacity: Resources,
    slots: u32,
    disk: BTreeMap<AttemptId, Stored>,
    pub(crate) store: Store,
    /// The volumes on disk, and whether they are released.
    volumes: BTreeMap<VolumeId, bool>,
    process: Option<Process>,
    /// It never comes back.
    dead: bool,
    /// Counts the processes.
    life: u64,
    /// Counts the boots of its machine.
    boots: u64,
}

/// One attempt on disk.
#[derive(Debug, Clone)]
struct Stored {
    assignment: Box<Assignment>,
    phase: Phase,
    /// The boot in which its supervisor runs.
    supervised_in: Option<u64>,
    /// How its command ended.
    exit: Option<Exit>,
    /// The end of the lease that its supervisor knows of, if its command ends with that; in the time of the world.
    leased_until: Duration,
    log: Shipped,
    /// What has come of its inputs, and is unpacked.
    arrived: Vec<Digest>,
    /// What its command has left, or that it has left nothing, once that was packed.
    made: Option<Option<Digest>>,
    /// Since when the store does not carry out what it wants.
    failing_since: Option<Duration>,
}

/// What a supervisor writes down in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Stopped,
    LeaseEnded,
}

#[derive(Debug)]
struct Process {
    clock: Clock,
    session: Session,
    connection: Option<u64>,
    /// Assignments that are being written down.
    starting: BTreeMap<AttemptId, Box<Assignment>>,
    /// What is to stop or to be forgotten: it does not begin any more, whenever the step is done.
    ends: BTreeSet<AttemptId>,
    tick_at: Option<Duration>,
    /// Until when commands may go on that end with the lease, in the time of the world.
    held: BTreeMap<AttemptId, Duration>,
    /// What was brought for others, and is kept without anybody's word until then.
    brought: BTreeMap<Digest, Duration>,
}

/// What a crash takes along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    Process,
    Node,
    Disk,
}

const REGIONS: [&str; 2] = ["eu", "us"];
const GPUS: [&str; 3] = ["1", "2", "3"];
const FLAGS: [&str; 2] = ["GCP", "spot"];

impl Agent {
    pub(crate) fn draw_all(scenario: &Scenario, rng: &mut ChaCha8Rng) -> Vec<Self> {
        (0..scenario.agents).map(|index| Self::draw(index, rng)).collect()
    }

    fn draw(index: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut labels = vec![("region", REGIONS[rng.random_range(0..2)])];
        if rng.random_bool(0.5) {
            labels.push(("gpu", GPUS[rng.random_range(0..3)]));
        }
        labels.extend(
            FLAGS
                .into_iter()
                .filter(|_| rng.random_bool(0.5))
                .map(|flag| (flag, "")),
        );
        Self {
            name: ClusterName::new(&format!("cluster-{index}")).expect("the name follows the grammar"),
            labels: Labels::from_pairs(labels).expect("the labels follow the grammar"),
            capacity: Resources {
                cpu_milli: rng.random_range(1..=4) * 1000,
                memory_bytes: 1 << 30,
            },
            slots: rng.random_range(1..=4),
            disk: BTreeMap::new(),
            store: Store::default(),
            volumes: BTreeMap::new(),
            process: None,
            dead: false,
            life: 0,
            boots: 0,
        }
    }

    pub(crate) const fn is_dead(&self) -> bool {
        self.dead
    }

    /// All labels that selectors see.
    pub(crate) fn full_labels(&self) -> Labels {
        self.labels.clone().with_cluster(&self.name)
    }

    /// Whether there are no leftovers.
    pub(crate) fn is_clean(&self) -> bool {
        self.dead || (self.disk.is_empty() && self.volumes.is_empty())
    }

    pub(crate) fn leftovers(&self) -> impl Iterator<Item = String> + '_ {
        let living = (!self.dead).then_some(self);
        living.into_iter().flat_map(|agent| {
            let name = &agent.name;
            let attempts = agent.disk.iter();
            let attempts = attempts
                .map(move |(attempt, stored)| format!("attempt {attempt} is still on {name} ({:?})", stored.phase));
            let volumes = agent.volumes.keys();
            attempts.chain(volumes.map(move |volume| format!("the volume {volume} is still on {name}")))
        })
    }

    fn hello(&self) -> Hello {
        Hello {
            version: "sim".to_owned(),
            capacity: self.capacity,
            slots: self.slots,
            capabilities: vec![Capability::Volumes, Capability::Exclusive],
            facts: Labels::new(),
            peer_address: None,
            volumes: self.held_volumes(),
            attempts: Vec::new(),
        }
    }
}

impl World {
    pub(crate) fn note_capacities(&mut self) {
        for agent in &self.agents {
            let (cluster, slots, resources) = (agent.name.clone(), agent.slots, agent.capacity);
            self.history.fact(
                Duration::ZERO,
                Fact::Capacity {
                    cluster,
                    slots,
                    resources,
                },
            );
        }
    }

    pub(crate) fn start_agent(&mut self, index: usize) {
        if self.agents[index].process.is_some() || self.agents[index].dead {
            return;
        }
        let clock = self.draw_clock();
        let agent = &mut self.agents[index];
        agent.life += 1;
        let life = agent.life;
        self.history
            .note(self.schedule.now(), || format!("{} starts", agent.name));
        let started = Fact::AgentStarted(agent.name.clone());
        self.history.fact(self.schedule.now(), started);
        self.recover(index, life);
        let agent = &mut self.agents[index];
        let report = |(attempt, stored): (&AttemptId, &Stored)| AttemptReport {
            attempt: *attempt,
            phase: stored.phase.clone(),
        };
        let recovered = agent.disk.iter().map(report).collect();
        let mut session = Session::new(Settings::default(), agent.hello(), recovered);
        let exclusive = agent
            .disk
            .iter()
            .filter(|(_, stored)| exclusive::is_exclusive(&stored.assignment));
        session.note_exclusive(exclusive.map(|(attempt, _)| *attempt));
        agent.process = Some(Process {
            clock,
            session,
            connection: None,
            starting: BTreeMap::new(),
            ends: BTreeSet::new(),
            tick_at: None,
            held: BTreeMap::new(),
            brought: BTreeMap::new(),
        });
        self.plan_dial(index);
        self.plan_shipping(index);
        self.plan_sweep(index);
    }

    /// Ends an agent for good, its disk with it or not.
    pub(crate) fn bury_agent(&mut self, index: usize) {
        let damage = if self.rng.random_bool(0.5) {
            Damage::Process
        } else {
            Damage::Disk
        };
        self.note(|| format!("cluster-{index} dies for good"));
        self.crash_agent(index, damage);
        self.agents[index].dead = true;
        let name = self.agents[index].name.clone();
        self.history.fact(self.schedule.now(), Fact::Buried(name));
    }

    /// Somebody deletes all that is in the store of a cluster.
    pub(crate) fn empty_store(&mut self, index: usize) {
        let agent = &mut self.agents[index];
        let (cluster, manifests) = (agent.name.clone(), agent.store.manifests().collect());
        agent.store.clear();
        self.history
            .fact(self.schedule.now(), Fact::StoreHurt { cluster, manifests });
    }

    /// The process of an agent asks for the handover lease, and ends soon after, granted or not.
    pub(crate) fn leave_agent(&mut self, index: usize) {
        let agent = &self.agents[index];
        if agent.process.is_none() {
            return;
        }
        let life = agent.life;
        self.tell_agent(index, Event::HandOver);
        let delay = self.draw_time(Duration::from_secs(5));
        self.schedule.after(delay, Item::AgentLeaves { agent: index, life });
    }

    /// The process ends that has asked, and another one follows.
    pub(crate) fn end_agent(&mut self, index: usize, life: u64) {
        if self.agents[index].life == life && !self.healed {
            self.crash_agent(index, Damage::Process);
            let long = self.draw_outage();
            self.schedule.after(long, Item::AgentStart { agent: index });
        }
    }

    pub(crate) fn crash_agent(&mut self, index: usize, damage: Damage) {
        let now = self.schedule.now();
        let agent = &mut self.agents[index];
        if damage != Damage::Process {
            agent.boots += 1;
            self.history.fact(now, Fact::MachineDown(agent.name.clone()));
        }
        if self.bug == Some(Bug::AcceptedNotPersisted) {
            agent.disk.retain(|_, stored| matches!(stored.phase, Phase::Ended(_)));
        }
        if damage == Damage::Disk {
            agent.disk.clear();
            agent.store.clear();
            agent.volumes.clear();
            self.history.fact(now, Fact::Wiped(agent.name.clone()));
        }
        let Some(process) = agent.process.take() else { return };
        if let Some(connection) = process.connection {
            let delay = self.draw_time(Duration::from_secs(1));
            self.network.close_agent_end(connection, &mut self.schedule, delay);
        }
    }

    fn plan_dial(&mut self, agent: usize) {
        let pause = self.draw_time(Duration::from_secs(2));
        let life = self.agents[agent].life;
        self.schedule.after(pause, Item::Dial { agent, life });
    }

    pub(crate) fn dial(&mut self, index: usize, life: u64) {
        let agent = &self.agents[index];
        let Some(process) = agent.process.as_ref().filter(|_| agent.life == life) else {
            return;
        };
        if process.connection.is_some() {
            return;
        }
        let connection = if self.network.is_cut(index) {
            None
        } else {
            self.accept(index)
        };
        let Some(connection) = connection else {
            return self.plan_dial(index);
        };
        if let Some(process) = &mut self.agents[index].process {
            process.connection = Some(connection);
        }
        self.tell_agent(index, Event::Connected);
    }

    pub(crate) fn arrive_at_agent(&mut self, connection: u64, frame: MasterFrame) {
        let Some(end) = self.network.connections.get(&connection) else {
            return;
        };
        let index = end.agent;
        if end.agent_open && !self.network.down_is_cut(index) {
            self.note(|| format!("cluster-{index} hears on {connection}: {frame:?}"));
            let ended = match &frame {
                MasterFrame::Order {
                    order: OrderFrame::Stop { attempt, .. } | OrderFrame::Forget(attempt),
                    ..
                } => Some(*attempt),
                _ => None,
            };
            self.tell_agent(index, Event::Frame(frame));
            let agent = &self.agents[index];
            if let Some(attempt) = ended
                && agent.process.as_ref().is_some_and(|process| process.session.is_up())
            {
                let cluster = agent.name.clone();
                self.history
                    .fact(self.schedule.now(), Fact::EndHeard { cluster, attempt });
            }
        }
    }

    pub(crate) fn agent_end_broke(&mut self, connection: u64) {
        let Some(end) = self.network.connections.get(&connection) else {
            return;
        };
        let index = end.agent;
        if !end.agent_open {
            return;
        }
        self.tell_agent(index, Event::Disconnected);
        self.hang_up(index);
    }

    fn hang_up(&mut self, index: usize) {
        let delay = self.draw_time(self.scenario.latency);
        if let Some(process) = &mut self.agents[index].process
            && let Some(connection) = process.connection.take()
        {
            self.network.close_agent_end(connection, &mut self.schedule, delay);
            self.plan_dial(index);
        }
    }

    pub(crate) fn agent_tick(&mut self, index: usize, life: u64) {
        if self.agents[index].life == life
            && let Some(process) = &mut self.agents[index].process
        {
            process.tick_at = None;
            self.tell_agent(index, Event::Tick);
        }
    }

    /// Tells the session, and does what it says.
    pub(crate) fn tell_agent(&mut self, index: usize, event: Event) {
        let agent = &mut self.agents[index];
        let Some(process) = &mut agent.process else { return };
        let clock = process.clock;
        let connection = process.connection;
        let now = self.now_at(clock);
        let Some(process) = &mut self.agents[index].process else {
            return;
        };
        let (mut released, mut held, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        for action in process.session.handle(now, event) {
            match action {
                Action::Send(frame) => {
                    let Some(connection) = connection else { continue };
                    self.history.note(self.schedule.now(), || {
                        format!("cluster-{index} says on {connection}: {frame:?}")
                    });
                    let random = (&mut self.schedule, &mut self.rng);
                    self.network
                        .send_up(connection, frame, (&self.scenario, self.bug), random);
                }
                Action::Start(assignment) => self.begin_attempt(index, assignment),
                Action::Stop { attempt, .. } => self.end_soon(index, attempt, Step::Stop(attempt)),
                Action::Forget(attempt) => self.end_soon(index, attempt, Step::Forget(attempt)),
                Action::Hold { attempt, until, .. } => held.push((attempt, Self::time_at(clock, until))),
                Action::Release(volume) => released.push(volume),
                Action::AcceptTunnel(_) => {}
                Action::Prefetch(prefetch) => copies.push(*prefetch),
                Action::Close(error) => {
                    self.note(|| format!("cluster-{index} closes: {error}"));
                    self.hang_up(index);
                }
            }
        }
        for volume in released {
            self.release_volume(index, volume);
        }
        for (attempt, until) in held {
            self.hold(index, attempt, until);
        }
        for prefetch in copies {
            self.begin_copy(index, prefetch);
        }
        self.plan_agent_tick(index);
    }

    fn plan_agent_tick(&mut self, index: usize) {
        let now = self.schedule.now();
        let agent = &mut self.agents[index];
        let Some(process) = &mut agent.process else { return };
        let Some(deadline) = process.session.deadline() else {
            return;
        };
        let at = Self::time_at(process.clock, deadline).max(now);
        if process.tick_at.is_none_or(|planned| at < planned) {
            process.tick_at = Some(at);
            self.schedule.at(
                at,
                Item::AgentTick {
                    agent: index,
                    life: agent.life,
                },
            );
        }
    }

    fn progressed(&mut self, index: usize, attempt: AttemptId, phase: Phase) {
        self.tell_agent(index, Event::Progressed { attempt, phase });
    }

    fn ended_fact(&mut self, index: usize, attempt: AttemptId, outcome: Outcome) {
        let cluster = self.agents[index].name.clone();
        self.history.fact(
            self.schedule.now(),
            Fact::Ended {
                cluster,
                attempt,
                outcome,
            },
        );
    }
}
