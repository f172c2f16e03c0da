//! The master's process: the control plane, one session for each connection, and the store under them.

pub(crate) mod generated;
mod links;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::RngExt;
use tombolo_core::build::JobSpec;
use tombolo_core::control::record::Invite;
use tombolo_core::control::{self, Change, Command, Control, Effects, Refusal, Reply};
use tombolo_core::id::{BuildId, InviteId, JobId, ProjectId};
use tombolo_core::name::{ClusterName, ProjectName};
use tombolo_core::session::master::{Event, Session, Settings, Ticket};
use tombolo_core::time::Timestamp;

use self::store::Store;
use crate::history::Fact;
use crate::users::Act;
use crate::world::{Bug, Clock, Item, World};

/// The project that all builds belong to.
pub(crate) const PROJECT: ProjectId = ProjectId::from_u128(1);
/// How long agents may act alone here.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(2);
const LOST_AFTER: Duration = Duration::from_secs(20);

/// The master and its disk.
#[derive(Debug, Default)]
pub(crate) struct Master {
    store: Store,
    /// The store before its last transaction, for a planted bug.
    before: Option<Box<Store>>,
    process: Option<Process>,
    life: u64,
    sessions: u64,
}

#[derive(Debug)]
struct Process {
    clock: Clock,
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
    Own,
}

/// Commands that were applied together.
#[derive(Debug)]
pub(crate) struct Batch {
    letters: Vec<(Origin, Effects)>,
    changes: Vec<Change>,
}

impl Master {
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

    pub(crate) fn knows(&self, cluster: &ClusterName) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.control.cluster(cluster).is_some())
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.process.is_some()
    }
}

fn control_settings() -> control::Settings {
    control::Settings {
        lease: LEASE,
        heartbeat: HEARTBEAT,
        lost_after: LOST_AFTER,
        ..control::Settings::default()
    }
}

fn session_settings() -> Settings {
    Settings {
        lease: LEASE,
        heartbeat: HEARTBEAT,
        ..Settings::default()
    }
}

/// What a hello says, if the command is one.
fn greeting(command: &Command) -> Option<Fact> {
    let Command::Connect { cluster, hello, .. } = command else {
        return None;
    };
    Some(Fact::Greeted {
        cluster: cluster.clone(),
        attempts: hello.attempts.iter().map(|report| report.attempt).collect(),
    })
}

impl World {
    pub(crate) fn start_master(&mut self) {
        if self.master.is_up() {
            return;
        }
        let clock = self.draw_clock();
        let live = self.master.store.live.clone();
        let control =
            Control::restore(control_settings(), live, self.now_at(clock)).expect("the store gives back what it took");
        self.master.life += 1;
        self.master.process = Some(Process {
            clock,
            control,
            specs: self.master.store.specs.clone(),
            sessions: BTreeMap::new(),
            inbox: VecDeque::new(),
            committing: false,
            tick_at: None,
        });
        self.note(|| "master starts".to_owned());
        self.master_work();
    }

    /// The project and all clusters, before anything can fail.
    pub(crate) fn master_setup(&mut self) {
        let name = ProjectName::new("sim").expect("the name follows the grammar");
        let mut commands = vec![Command::CreateProject { id: PROJECT, name }];
        for agent in 0..self.agents.len() {
            commands.extend(self.admission(agent));
        }
        for command in commands {
            let Some(process) = &mut self.master.process else {
                return;
            };
            let now = World::now_of(self.schedule.now(), process.clock);
            let effects = process.control.apply(now, command);
            self.commit(&effects.changes);
        }
    }

    /// Lets an agent in again that was removed.
    pub(crate) fn readmit(&mut self, agent: usize) {
        let Some(process) = &self.master.process else { return };
        if process.control.cluster(&self.agents[agent].name).is_none() {
            for command in self.admission(agent) {
                self.command(Origin::Own, command);
            }
        }
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
        };
        [Command::Invite(invite), Command::Join { secret, key }]
    }

    pub(crate) fn command(&mut self, origin: Origin, command: Command) {
        if let Some(process) = &mut self.master.process {
            process.inbox.push_back((origin, command));
            self.master_work();
        }
    }

    /// The process ends. What it was writing may be written or not.
    pub(crate) fn crash_master(&mut self) {
        let Some(process) = self.master.process.take() else {
            return;
        };
        self.note(|| "master crashes".to_owned());
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

    /// Applies what has come, a batch at a time, and writes it. While a batch is being written, the next one waits.
    fn master_work(&mut self) {
        loop {
            let size = self.rng.random_range(1..=8);
            let Some(process) = &mut self.master.process else {
                return;
            };
            if process.committing || process.inbox.is_empty() {
                break;
            }
            let clock = process.clock;
            let now = self.now_at(clock);
            let Some(process) = &mut self.master.process else {
                return;
            };
            let (mut letters, mut changes) = (Vec::new(), Vec::new());
            for _ in 0..size {
                let Some((origin, command)) = process.inbox.pop_front() else {
                    break;
                };
                self.history
                    .note(self.schedule.now(), || format!("master applies {command:?}"));
                let greeting = greeting(&command);
                let mut effects = process.control.apply(now, command);
                if let Some(greeting) = greeting.filter(|_| effects.reply.is_ok()) {
                    self.history.fact(self.schedule.now(), greeting);
                }
                for change in &effects.changes {
                    if let Change::InsertBuild { nodes, specs, .. } | Change::ExtendBuild { nodes, specs, .. } = change
                    {
                        process
                            .specs
                            .extend(nodes.iter().map(|node| node.id).zip(specs.iter().cloned()));
                    }
                }
                changes.append(&mut effects.changes);
                letters.push((origin, effects));
            }
            if changes.is_empty() {
                self.let_out(letters);
                continue;
            }
            process.committing = true;
            if self.bug == Some(Bug::EffectsBeforeCommit) {
                self.let_out(std::mem::take(&mut letters));
            }
            let life = self.master.life;
            let time = self.draw_time(self.scenario.commit_time);
            self.schedule.after(
                time,
                Item::MasterCommit {
                    life,
                    batch: Box::new(Batch { letters, changes }),
                },
            );
        }
        self.plan_master_tick();
    }

    /// The store has answered, or would have: the process may be gone.
    pub(crate) fn master_committed(&mut self, life: u64, batch: Batch) {
        if self.master.life != life || !self.master.is_up() {
            // A database may finish what a dead client asked for, but not after a later one has begun: that fences it.
            if !self.master.is_up() && self.master.life == life && self.rng.random_bool(0.5) {
                self.commit(&batch.changes);
            }
            return;
        }
        let fails = self.scenario.commit_failures > 0.0 && self.rng.random_bool(self.scenario.commit_failures);
        let written = !fails || self.rng.random_bool(0.3);
        if written {
            self.commit(&batch.changes);
        }
        if fails {
            self.note(|| format!("master's commit fails, written: {written}"));
        }
        // An unknown end is read back: what is there was a success.
        if !written && self.bug != Some(Bug::FailedCommitIgnored) {
            self.crash_master();
            self.start_master();
            return;
        }
        if let Some(process) = &mut self.master.process {
            process.committing = false;
        }
        self.let_out(batch.letters);
        self.master_work();
    }

    /// Answers, and hands the orders to the sessions.
    fn let_out(&mut self, letters: Vec<(Origin, Effects)>) {
        for (origin, effects) in letters {
            self.answer(origin, effects.reply);
            for (cluster, order) in effects.orders {
                self.hand_over(&cluster, order);
            }
        }
    }

    fn answer(&mut self, origin: Origin, reply: Result<Reply, Refusal>) {
        match origin {
            Origin::Session { connection, ticket } => {
                self.session_event(
                    connection,
                    Event::Applied {
                        ticket,
                        result: reply.map(|_| ()),
                    },
                );
            }
            Origin::User(act) => self.user_hears(act, reply),
            Origin::Removal(name) if reply.is_ok() => self.end_sessions_of(&name),
            Origin::Removal(_) | Origin::Own => {}
        }
    }

    pub(crate) fn master_tick(&mut self, life: u64) {
        if self.master.life != life {
            return;
        }
        let Some(process) = &mut self.master.process else {
            return;
        };
        process.tick_at = None;
        let steady = World::now_of(self.schedule.now(), process.clock).steady;
        if process
            .control
            .next_deadline()
            .is_some_and(|deadline| deadline <= steady)
        {
            let waits = process
                .inbox
                .iter()
                .any(|(_, command)| matches!(command, Command::Tick));
            if !waits {
                process.inbox.push_back((Origin::Own, Command::Tick));
            }
        }
        let due = process
            .sessions
            .iter()
            .filter(|(_, session)| session.deadline().is_some_and(|at| at <= steady));
        let due: Vec<u64> = due.map(|(connection, _)| *connection).collect();
        for connection in due {
            self.session_event(connection, Event::Tick);
        }
        self.master_work();
    }

    fn plan_master_tick(&mut self) {
        let now = self.schedule.now();
        let Some(process) = &mut self.master.process else {
            return;
        };
        // While a batch is being written nothing can be applied.
        let control = if process.committing {
            None
        } else {
            process.control.next_deadline()
        };
        let sessions = process.sessions.values().filter_map(Session::deadline).min();
        let Some(first) = control.into_iter().chain(sessions).min() else {
            return;
        };
        let at = World::time_at(process.clock, first).max(now);
        if process.tick_at.is_none_or(|planned| at < planned) {
            process.tick_at = Some(at);
            let life = self.master.life;
            self.schedule.at(at, Item::MasterTick { life });
        }
    }
}
