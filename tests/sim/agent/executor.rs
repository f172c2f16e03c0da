//! A model of an executor: it writes attempts down, fetches inputs, runs commands under supervisors, keeps outputs.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tombolo_core::attempt::{
    Assignment, GeneratedFile, InputReference, LostInput, Outcome, OutputReference, Phase, Prefetch, RouteKind,
    TransferReceipt,
};
use tombolo_core::build::{JobSpec, TerminalState};
use tombolo_core::digest::Digest;
use tombolo_core::id::AttemptId;
use tombolo_core::session::agent::Event;
use tombolo_core::time::Timestamp;

use super::store::{Upload, bytes_of};
use super::sweeps::Question;
use super::{Exit, Shipped, Stored};
use crate::master::LEASE;
use crate::world::{Bug, Item, PATIENCE, World};
use tombolo_tests::history::Fact;

/// What an executor does next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Writes the assignment down.
    Accept(AttemptId),
    /// Begins to fetch.
    Prepare(AttemptId),
    /// Has fetched, or not; the number counts the tries.
    Fetched(AttemptId, u32),
    /// Runs the command, if the lease is valid.
    Launch(AttemptId),
    /// The supervisor of this boot sees the command end.
    Exit(AttemptId, u64, Exit),
    /// The supervisor of this boot sees the lease end.
    LeaseDue(AttemptId, u64),
    /// Stores what is in the output.
    Publish(AttemptId),
    /// Has stored that, and says what the output is.
    Published(AttemptId),
    /// Has stored the output.
    Conclude(AttemptId),
    Stop(AttemptId),
    Forget(AttemptId),
    /// Brings a copy, and says so.
    Copy(Box<Prefetch>),
    /// Sends what of the logs was not sent.
    Ship,
    /// Sweeps the store.
    Sweep,
    /// Has heard from the master which outputs it wants.
    Answered(Box<Question>, Vec<Digest>),
}

/// How long the steps of the executor take at most, unless it is the command.
const STEP: Duration = Duration::from_millis(300);
/// How often to look for an input before giving up.
const TRIES: u32 = 3;

impl World {
    pub(crate) fn soon(&mut self, agent: usize, step: Step) {
        let longest = match self.scenario.tense {
            false if self.rng.random_bool(0.05) => STEP * 10,
            false => STEP,
            true if self.rng.random_bool(0.1) => LEASE,
            true => STEP / 5,
        };
        self.later(agent, longest, step);
    }

    pub(super) fn later(&mut self, agent: usize, longest: Duration, step: Step) {
        let delay = self.draw_time(longest);
        let life = self.agents[agent].life;
        self.schedule.after(delay, Item::AgentStep { agent, life, step });
    }

    pub(super) fn end_soon(&mut self, agent: usize, attempt: AttemptId, step: Step) {
        if let Some(process) = &mut self.agents[agent].process {
            process.ends.insert(attempt);
            let cluster = self.agents[agent].name.clone();
            self.history
                .fact(self.schedule.now(), Fact::EndOrdered { cluster, attempt });
        }
        self.soon(agent, step);
    }

    pub(super) fn begin_attempt(&mut self, index: usize, assignment: Box<Assignment>) {
        let attempt = assignment.attempt;
        let agent = &mut self.agents[index];
        let cluster = agent.name.clone();
        self.history
            .fact(self.schedule.now(), Fact::StartOrdered { cluster, attempt });
        if let Some(process) = &mut agent.process {
            process.starting.insert(attempt, assignment);
        }
        self.soon(index, Step::Accept(attempt));
    }

    /// Goes on with what is on disk, in a new process.
    pub(super) fn recover(&mut self, index: usize, life: u64) {
        debug_assert_eq!(self.agents[index].life, life, "steps belong to the new process");
        let mut steps = Vec::new();
        let boots = self.agents[index].boots;
        for (attempt, stored) in &mut self.agents[index].disk {
            stored.failing_since = None;
            steps.extend(match (&stored.phase, stored.exit, stored.supervised_in) {
                (Phase::Accepted, ..) => Some(Step::Prepare(*attempt)),
                (Phase::Preparing, ..) => Some(Step::Fetched(*attempt, 1)),
                (Phase::Ended(_), ..) => None,
                (_, None, Some(boot)) if boot == boots => None,
                (..) => Some(Step::Publish(*attempt)),
            });
        }
        for step in steps {
            self.soon(index, step);
        }
    }

    pub(crate) fn agent_step(&mut self, index: usize, life: u64, step: Step) {
        self.note(|| format!("cluster-{index} {step:?} of life {life}"));
        if let Step::Exit(attempt, boot, exit) = step {
            return self.command_ends(index, attempt, boot, exit);
        }
        if let Step::LeaseDue(attempt, boot) = step {
            return self.lease_due(index, attempt, boot);
        }
        if self.agents[index].life != life || self.agents[index].process.is_none() {
            return;
        }
        match step {
            Step::Accept(attempt) => self.accept_attempt(index, attempt),
            Step::Prepare(attempt) => {
                if self.advance(index, attempt, 0, Phase::Preparing) {
                    self.after_store(index, Step::Fetched(attempt, 1));
                }
            }
            Step::Fetched(attempt, tries) => self.fetched(index, attempt, tries),
            Step::Launch(attempt) => self.launch(index, attempt),
            Step::Exit(..) | Step::LeaseDue(..) => {}
            Step::Publish(attempt) => self.publish(index, attempt),
            Step::Published(attempt) => self.published(index, attempt),
            Step::Conclude(attempt) => self.conclude(index, attempt),
            Step::Stop(attempt) => self.stop_attempt(index, attempt),
            Step::Copy(prefetch) => self.copy(index, &prefetch),
            Step::Ship => self.ship(index),
            Step::Sweep => self.sweep(index),
            Step::Answered(question, wanted) => self.go_on_sweeping(index, &question, &wanted),
            Step::Forget(attempt) if self.must_ship_first(index, attempt) => self.soon(index, step),
            Step::Forget(attempt) => {
                if self.bug != Some(Bug::ForgetIgnored) {
                    self.note_command_over(index, attempt);
                    self.agents[index].disk.remove(&attempt);
                    self.agents[index].store.uploads.remove(&Upload::Attempt(attempt));
                    self.agents[index].remove_volumes();
                }
                if let Some(process) = &mut self.agents[index].process {
                    process.starting.remove(&attempt);
                    process.ends.remove(&attempt);
                }
                self.tell_agent(index, Event::Forgotten(attempt));
            }
        }
    }

    fn accept_attempt(&mut self, index: usize, attempt: AttemptId) {
        let agent = &mut self.agents[index];
        let Some(process) = &mut agent.process else { return };
        let Some(assignment) = process.starting.remove(&attempt) else {
            return;
        };
        let stored = Stored {
            assignment,
            phase: Phase::Accepted,
            supervised_in: None,
            exit: None,
            leased_until: Duration::ZERO,
            log: Shipped::default(),
            arrived: Vec::new(),
            made: None,
            failing_since: None,
        };
        agent.disk.insert(attempt, stored);
        self.take_volumes(index, attempt);
        self.progressed(index, attempt, Phase::Accepted);
        if !self.end_if_stopped(index, attempt) {
            self.soon(index, Step::Prepare(attempt));
        }
    }

    /// Writes the next phase down if the present one has this rank, and says so.
    pub(super) fn advance(&mut self, index: usize, attempt: AttemptId, from: u8, to: Phase) -> bool {
        let Some(stored) = self.agents[index].disk.get_mut(&attempt) else {
            return false;
        };
        if stored.phase.rank() != from {
            return false;
        }
        stored.phase = to.clone();
        self.progressed(index, attempt, to);
        true
    }

    fn in_preparation(&self, index: usize, attempt: AttemptId) -> Option<&Stored> {
        self.agents[index]
            .disk
            .get(&attempt)
            .filter(|stored| stored.phase == Phase::Preparing)
    }

    /// Looks for the inputs where the assignment says that they are.
    fn fetched(&mut self, index: usize, attempt: AttemptId, tries: u32) {
        let Some(stored) = self.in_preparation(index, attempt) else {
            return;
        };
        let inputs = stored.assignment.inputs.clone();
        if !self.begin_upload(index, attempt, Step::Fetched(attempt, tries)) {
            return;
        }
        let skipped = self.bug == Some(Bug::InputSkipped);
        let mut bring = |input: &InputReference| match self.bring(index, input, Upload::Attempt(attempt)) {
            Err(_) if skipped => Ok(input.output.manifest),
            brought => brought,
        };
        let arrived: Result<Vec<Digest>, LostInput> = inputs.iter().map(&mut bring).collect();
        match arrived {
            Ok(arrived) => {
                if let Some(stored) = self.agents[index].disk.get_mut(&attempt) {
                    stored.arrived = arrived.into_iter().skip(usize::from(skipped)).collect();
                }
                self.after_store(index, Step::Launch(attempt));
            }
            Err(_) if tries < TRIES => self.soon(index, Step::Fetched(attempt, tries + 1)),
            Err(lost) => self.end_without(index, attempt, lost),
        }
    }

    /// Ends an attempt for want of an input.
    fn end_without(&mut self, index: usize, attempt: AttemptId, lost: LostInput) {
        self.end_with(
            index,
            attempt,
            (TerminalState::Error, None, "an input is gone"),
            vec![lost],
        );
    }

    fn launch(&mut self, index: usize, attempt: AttemptId) {
        let agent = &self.agents[index];
        let Some(stored) = self.in_preparation(index, attempt) else {
            return;
        };
        let Some(process) = &agent.process else { return };
        if process.ends.contains(&attempt) {
            return;
        }
        if !process.session.lease_valid(self.now_at(process.clock).steady) || !self.is_held(index, stored) {
            return self.soon(index, Step::Launch(attempt));
        }
        let (assignment, arrived) = (stored.assignment.clone(), stored.arrived.clone());
        let (cluster, boot) = (agent.name.clone(), agent.boots);
        let receipts = assignment.inputs.iter().map(receipt).collect();
        let running = Phase::Running {
            started_at: Timestamp(1),
            inputs: receipts,
        };
        if let Some(stored) = self.agents[index].disk.get_mut(&attempt) {
            stored.supervised_in = Some(boot);
        }
        self.history.fact(
            self.schedule.now(),
            Fact::CommandStarted {
                cluster,
                assignment,
                arrived,
            },
        );
        let hangs = self.rng.random_bool(self.scenario.hanging);
        let time = if hangs {
            PATIENCE * 2
        } else {
            self.draw_time(self.scenario.command_time)
        };
        let code = if self.rng.random_bool(0.75) {
            0
        } else {
            self.rng.random_range(1..4)
        };
        let life = self.agents[index].life;
        let exit = Step::Exit(attempt, boot, Exit::Code(code));
        self.schedule.after(
            time,
            Item::AgentStep {
                agent: index,
                life,
                step: exit,
            },
        );
        self.write_log(index, attempt);
        self.heed_lease(index, attempt);
        self.advance(index, attempt, 1, running);
    }

    /// The supervisor writes down how the command ended, whether the agent's process is there or not.
    pub(super) fn command_ends(&mut self, index: usize, attempt: AttemptId, boot: u64, exit: Exit) {
        let agent = &mut self.agents[index];
        if agent.boots != boot {
            return;
        }
        let Some(stored) = agent.disk.get_mut(&attempt) else {
            return;
        };
        if stored.supervised_in != Some(boot) || stored.exit.is_some() || matches!(stored.phase, Phase::Ended(_)) {
            return;
        }
        stored.exit = Some(exit);
        self.note_command_over(index, attempt);
        if self.agents[index].process.is_some() {
            self.soon(index, Step::Publish(attempt));
        }
    }

    fn stop_attempt(&mut self, index: usize, attempt: AttemptId) {
        if self.end_if_stopped(index, attempt) {
            return;
        }
        let agent = &self.agents[index];
        let running = agent
            .disk
            .get(&attempt)
            .filter(|stored| matches!(stored.phase, Phase::Running { .. }));
        if let Some(boot) = running.and_then(|stored| stored.supervised_in) {
            self.command_ends(index, attempt, boot, Exit::Stopped);
        }
    }

    /// Ends an attempt whose command has not begun, if it is to stop.
    fn end_if_stopped(&mut self, index: usize, attempt: AttemptId) -> bool {
        let agent = &self.agents[index];
        let early = agent.disk.get(&attempt).is_some_and(|stored| stored.phase.rank() < 2);
        let stopped = agent
            .process
            .as_ref()
            .is_some_and(|process| process.ends.contains(&attempt));
        let ends = early && stopped;
        if ends {
            self.end_attempt(index, attempt, TerminalState::Killed, None, "stopped before it started");
        }
        ends
    }

    /// Writes the end down, the output first.
    pub(super) fn end_attempt(
        &mut self,
        index: usize,
        attempt: AttemptId,
        state: TerminalState,
        exit_code: Option<i32>,
        message: &str,
    ) {
        self.end_with(index, attempt, (state, exit_code, message), Vec::new());
    }

    fn end_with(
        &mut self,
        index: usize,
        attempt: AttemptId,
        (state, exit_code, message): (TerminalState, Option<i32>, &str),
        lost_inputs: Vec<LostInput>,
    ) {
        let log_lines = self.write_log(index, attempt);
        let Some(stored) = self.agents[index].disk.get_mut(&attempt) else {
            return;
        };
        let makes = state == TerminalState::Finished && makes_jobs(&stored.assignment.job);
        let generated = makes.then(|| draw_file(&mut self.rng)).flatten();
        let left = stored.made.flatten().map(|manifest| OutputReference {
            manifest,
            bytes: bytes_of(manifest),
            files: 1,
        });
        let outcome = Outcome {
            state,
            exit_code,
            message: message.to_owned(),
            started_at: stored.supervised_in.map(|_| Timestamp(1)),
            ended_at: Timestamp(2),
            output: left,
            cache: left.filter(|_| stored.assignment.job.cache).map(Box::new),
            inputs: stored.assignment.inputs.iter().map(receipt).collect(),
            lost_inputs,
            lease_ended: stored.exit == Some(Exit::LeaseEnded),
            lost: stored.supervised_in.is_some() && stored.exit.is_none(),
            log_lines,
            generated: generated.map(Box::new),
        };
        stored.phase = Phase::Ended(outcome.clone());
        self.ended_fact(index, attempt, outcome.clone());
        if self.bug != Some(Bug::EndNotReported) {
            self.progressed(index, attempt, Phase::Ended(outcome));
        }
    }
}

/// What an attempt says of how its command ended.
pub(super) const fn outcome_of(exit: Option<Exit>) -> (TerminalState, Option<i32>, &'static str) {
    match exit {
        Some(Exit::Code(0)) => (TerminalState::Finished, Some(0), ""),
        Some(Exit::Code(3)) => (TerminalState::Unstable, Some(0), "tests failed"),
        Some(Exit::Code(code)) => (TerminalState::Failure, Some(code), "the command failed"),
        Some(Exit::Stopped) => (TerminalState::Killed, None, "stopped"),
        Some(Exit::LeaseEnded) => (TerminalState::Error, None, "the lease ended"),
        None => (TerminalState::Error, None, "its supervisor is gone"),
    }
}

/// Jobs that were made by others make none.
fn makes_jobs(job: &JobSpec) -> bool {
    !job.name.as_str().contains('/')
}

/// A job file, now and then: what is in it is a seed, or nonsense.
fn draw_file(rng: &mut ChaCha8Rng) -> Option<GeneratedFile> {
    let text = match rng.random_range(0..20) {
        0..3 => Ok(rng.random::<u64>().to_string()),
        3 => Ok("nonsense".to_owned()),
        _ => return None,
    };
    let name = GeneratedFile::NAMES[0].to_owned();
    let workflows = Vec::new();
    Some(GeneratedFile { name, text, workflows })
}

fn receipt(input: &InputReference) -> TransferReceipt {
    TransferReceipt {
        parent: Some(input.name.clone()),
        cache: false,
        from: input.sources.first().map(|source| source.cluster.clone()),
        route: RouteKind::Relay,
        manifest: input.output.manifest,
        bytes: input.output.bytes,
        moved_bytes: 0,
        milliseconds: 0,
        routes: Vec::new(),
        prefetched: false,
        failure: None,
    }
}
