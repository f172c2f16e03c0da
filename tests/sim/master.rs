//! The masters' processes: the control plane, one session for each connection, and the database that they share.

pub(crate) mod generated;
mod leading;
mod links;
mod logs;
mod store;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;
use tombolo_core::build::JobSpec;
use tombolo_core::control::record::Invite;
use tombolo_core::control::{self, Change, Command, Control, Effects, JobView};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, InviteId, JobId, ProjectId};
use tombolo_core::name::{ClusterName, ProjectName};
use tombolo_core::placement::Availability;
use tombolo_core::session::master::{Session, Settings, Ticket};
use tombolo_core::time::Timestamp;

pub(crate) use self::leading::Turn;
use self::leading::{Machine, Term};
pub(crate) use self::logs::Lines;
pub(crate) use self::store::Store;
use crate::users::Act;
use crate::world::{Bug, Clock, World};
use tombolo_tests::history::Fact;

/// The project that all builds belong to.
pub(crate) const PROJECT: ProjectId = ProjectId::from_u128(1);
/// How long agents may act alone here.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(2);
const LOST_AFTER: Duration = Duration::from_secs(20);
/// Longer than a lease, and than most processes are away.
const HANDOVER: Duration = Duration::from_secs(30);

/// The masters and their database.
#[derive(Debug, Default)]
pub(crate) struct Master {
    store: Store,
    /// The store before its last transaction, for a planted bug.
    before: Option<Box<Store>>,
    machines: Vec<Machine>,
    /// Counts those who led: each has a number of its own, which is its epoch too.
    lives: u64,
    sessions: u64,
}

/// One that leads, or believes that it does.
#[derive(Debug)]
struct Process {
    life: u64,
    clock: Clock,
    /// Its lease, where there is more than one master.
    term: Option<Term>,
    control: Control,
    /// Specifications that were taken in, which the store may not have yet.
    specs: BTreeMap<JobId, JobSpec>,
    sessions: BTreeMap<u64, Session>,
    inbox: VecDeque<(Origin, Command)>,
    committing: bool,
    tick_at: Option<Duration>,
}

/// Who gave a command.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    Session {
        connection: u64,
        ticket: Ticket,
    },
    User(Act),
    /// An administrator removes a cluster.
    Removal(ClusterName),
    /// An administrator removes a cluster that is drained.
    Drained(ClusterName),
    Own,
}

/// An output that is waited for: who left it, and who has it.
pub(crate) type Given = (JobId, Digest, Vec<ClusterName>);

/// Commands that were applied together.
#[derive(Debug)]
pub(crate) struct Batch {
    letters: Vec<(Origin, Effects)>,
    changes: Vec<Change>,
}

impl Master {
    /// Whether there are no leftovers.
    pub(crate) fn is_over(&self) -> bool {
        self.store.running.is_empty()
    }

    pub(crate) fn leftovers(&self) -> Vec<String> {
        let unfinished = |build: &BuildId| {
            let open = self
                .store
                .live
                .jobs
                .iter()
                .filter(|(node, status)| node.build == *build && status.state.terminal().is_none());
            let jobs: Vec<String> = open
                .map(|(node, status)| {
                    format!(
                        "{} {} epoch {} on {:?}",
                        node.id, status.state, status.epoch, status.cluster
                    )
                })
                .collect();
            format!("{build} runs: {}", jobs.join(", "))
        };
        self.store.running.iter().map(unfinished).collect()
    }

    /// The builds that are not over, as the store has them.
    pub(crate) fn running(&self) -> Vec<BuildId> {
        self.store.running.iter().copied().collect()
    }

    /// The jobs of a build that is not over.
    pub(crate) fn jobs(&self, build: BuildId) -> Vec<JobId> {
        let jobs = self.store.live.jobs.iter().filter(|(node, _)| node.build == build);
        jobs.map(|(node, _)| node.id).collect()
    }

    /// The database, as whoever reads it finds it.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// The clock of one that leads, or believes that it does.
    pub(crate) fn clock_of(&self, life: u64) -> Option<Clock> {
        Some(self.process(life)?.clock)
    }

    /// Whether the cluster is a member, as the store has it.
    pub(crate) fn knows(&self, cluster: &ClusterName) -> bool {
        let mut members = self.store.live.clusters.iter();
        members.any(|member| member.name == *cluster)
    }

    /// Which jobs a cluster takes, as the store has it.
    pub(crate) fn availability(&self, cluster: &ClusterName) -> Option<Availability> {
        let mut members = self.store.live.clusters.iter();
        Some(members.find(|member| member.name == *cluster)?.availability)
    }

    /// Whether nothing is left on a cluster that is being drained, as the one says who leads.
    pub(crate) fn is_drained(&self, cluster: &ClusterName) -> Option<bool> {
        let cluster = self.process(self.store.leader)?.control.cluster(cluster)?;
        Some(cluster.drain?.is_over)
    }

    /// Whether there is somebody to ask who leads.
    pub(crate) fn is_led(&self) -> bool {
        self.process(self.store.leader).is_some()
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        self.machines.iter().filter_map(Machine::process)
    }

    fn process(&self, life: u64) -> Option<&Process> {
        self.processes().find(|process| process.life == life)
    }

    fn process_mut(&mut self, life: u64) -> Option<&mut Process> {
        let processes = self.machines.iter_mut().filter_map(Machine::process_mut);
        processes.into_iter().find(|process| process.life == life)
    }

    /// Whose connection it is.
    fn life_of(&self, connection: u64) -> Option<u64> {
        let mut processes = self.processes();
        let with = processes.find(|process| process.sessions.contains_key(&connection))?;
        Some(with.life)
    }
}

/// The outputs that jobs of the graph wait for and some cluster has, as the control plane knows it: who left each, and who has it.
fn given(control: &Control) -> Vec<Given> {
    let mut given = Vec::new();
    for build in control.builds() {
        let jobs: Vec<_> = control.jobs(build.id).collect();
        for job in &jobs {
            let follows = |child: &JobView<'_>| {
                let waits = child.status.state.terminal().is_none();
                waits && child.node.parents.iter().any(|(parent, _)| *parent == job.node.index)
            };
            let Some(output) = control.output(job.id()).filter(|_| jobs.iter().any(follows)) else {
                continue;
            };
            let holders: Vec<ClusterName> = output.holders.iter().map(|name| (*name).clone()).collect();
            if !holders.is_empty() {
                given.push((job.id(), output.output.manifest, holders));
            }
        }
    }
    given
}

/// The jobs whose outputs others wait for, and this cluster has.
fn needed_from(control: &Control, cluster: &ClusterName) -> BTreeSet<JobId> {
    let there = given(control)
        .into_iter()
        .filter(|(_, _, holders)| holders.contains(cluster));
    there.map(|(job, ..)| job).collect()
}

/// The jobs that make their outputs again.
fn recovering(control: &Control) -> BTreeSet<JobId> {
    let jobs = control.builds().flat_map(|build| control.jobs(build.id));
    let recovering = jobs.filter(|job| job.status.is_recovering());
    recovering.map(|job| job.id()).collect()
}

fn control_settings() -> control::Settings {
    control::Settings {
        lease: LEASE,
        heartbeat: HEARTBEAT,
        lost_after: LOST_AFTER,
        handover: HANDOVER,
        ..control::Settings::default()
    }
}

fn session_settings() -> Settings {
    Settings {
        lease: LEASE,
        heartbeat: HEARTBEAT,
        handover: HANDOVER,
        ..Settings::default()
    }
}

impl World {
    /// Somebody who leads, or believes that it does: with a bad network there may be two.
    pub(crate) fn draw_leader(&mut self) -> Option<u64> {
        let lives: Vec<u64> = self.master.processes().map(|process| process.life).collect();
        match lives.len() {
            0 => None,
            1 => Some(lives[0]),
            several => Some(lives[self.rng.random_range(0..several)]),
        }
    }

    /// The project and all clusters, before anything can fail.
    pub(crate) fn master_setup(&mut self) {
        let name = ProjectName::new("sim").expect("the name follows the grammar");
        let mut commands = vec![Command::CreateProject { id: PROJECT, name }];
        commands.extend(self.retention_setup());
        for agent in 0..self.agents.len() {
            commands.extend(self.admission(agent));
        }
        let Some(life) = self.draw_leader() else { return };
        for command in commands {
            let Some(process) = self.master.process_mut(life) else {
                return;
            };
            let now = World::now_of(self.schedule.now(), process.clock);
            let effects = process.control.apply(now, command);
            self.commit(&effects.changes);
        }
    }

    /// Lets an agent in again that was removed. False if nobody is there to do it.
    pub(crate) fn readmit(&mut self, agent: usize) -> bool {
        if self.master.knows(&self.agents[agent].name) {
            return true;
        }
        let admission = self.admission(agent);
        let Some(life) = self.draw_leader() else { return false };
        for command in admission {
            self.command_to(life, Origin::Own, command);
        }
        true
    }

    /// Invites an agent and lets it join.
    fn admission(&mut self, agent: usize) -> [Command; 2] {
        let (secret, key) = (self.fresh_digest(), self.fresh_digest());
        let id = InviteId::from_u128(self.fresh());
        let (cluster, labels) = (self.agents[agent].name.clone(), self.agents[agent].labels.clone());
        let expires_at = Timestamp(u64::MAX / 2);
        let invite = Invite {
            id,
            secret,
            cluster,
            labels,
            expires_at,
            used_by: None,
            pin: None,
        };
        [Command::Invite(invite), Command::Join { secret, key }]
    }

    /// Gives a command to somebody who leads. False if nobody does.
    pub(crate) fn command(&mut self, origin: Origin, command: Command) -> bool {
        let leader = self.draw_leader();
        if let Some(life) = leader {
            self.command_to(life, origin, command);
        }
        leader.is_some()
    }

    pub(crate) fn command_to(&mut self, life: u64, origin: Origin, command: Command) {
        if let Some(process) = self.master.process_mut(life) {
            process.inbox.push_back((origin, command));
            self.master_work(life);
        }
    }

    /// A process ends. What it was writing may be written or not.
    fn end_process(&mut self, process: Process) {
        if let Some(before) = self.master.before.take() {
            self.master.store = *before;
        }
        for connection in process.sessions.into_keys() {
            let delay = self.draw_time(Duration::from_secs(1));
            self.network.close_master_end(connection, &mut self.schedule, delay);
        }
    }

    fn commit(&mut self, changes: &[Change]) {
        if self.bug == Some(Bug::StoreForgetsLastCommit) {
            self.master.before = Some(Box::new(self.master.store.clone()));
        }
        self.master.store.commit(changes);
        let now = self.schedule.now();
        for change in changes {
            self.history.fact(now, Fact::Committed(change.clone()));
        }
    }
}
