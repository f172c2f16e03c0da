//! The master's connections: what comes in on them, and what goes out.

use tombolo_core::attempt::{Assignment, BuildContext, InputReference, InputSource, ParentJob, Prefetch};
use tombolo_core::control::{self, Command};
use tombolo_core::id::{AttemptId, JobId, SessionId};
use tombolo_core::label::Labels;
use tombolo_core::name::ClusterName;
use tombolo_core::route::Cost;
use tombolo_core::session::master::{Action, Event, Session};
use tombolo_core::session::{AgentFrame, Order, OrderFrame};

use super::{Origin, PROJECT, session_settings};
use crate::world::{Bug, World};

impl World {
    /// Gives an order to the session of its cluster, if there is one.
    pub(super) fn hand_over(&mut self, life: u64, cluster: &ClusterName, order: Order) {
        let Some(process) = self.master.process(life) else {
            return;
        };
        let Some(session) = process.control.cluster(cluster).and_then(|view| view.session) else {
            return;
        };
        let frame = match order {
            Order::Assign(attempt) => {
                let Some(assignment) = self.assignment(life, attempt) else {
                    return;
                };
                OrderFrame::Assign(Box::new(assignment))
            }
            Order::Stop { attempt, reason } => OrderFrame::Stop { attempt, reason },
            Order::Forget(attempt) => OrderFrame::Forget(attempt),
            Order::Release(volume) => OrderFrame::Release(volume),
            Order::Copy(job) => {
                let Some(prefetch) = self.prefetch(life, job) else {
                    return;
                };
                OrderFrame::Prefetch(Box::new(prefetch))
            }
            // A hint, which may be lost.
            Order::Prefetch(_) => return,
        };
        let misrouted = self.bug == Some(Bug::OrdersMisrouted);
        let found = process
            .sessions
            .iter()
            .find(|(_, end)| (end.id() == session) != misrouted);
        if let Some((connection, _)) = found {
            self.session_event(*connection, Event::Order(frame));
        }
    }

    fn prefetch(&self, life: u64, job: JobId) -> Option<Prefetch> {
        let input = self.master.process(life)?.control.output(job)?;
        Some(Prefetch {
            project: PROJECT,
            input: reference(&input),
            waiting_per_hour: Cost(0),
            confirm: true,
        })
    }

    fn assignment(&self, life: u64, attempt: AttemptId) -> Option<Assignment> {
        let process = self.master.process(life)?;
        let view = process.control.assignment(attempt)?;
        let mut inputs: Vec<InputReference> = view.inputs.iter().map(reference).collect();
        if self.bug == Some(Bug::InputNotAssigned) {
            inputs.pop();
        }
        let parent = |parent: &control::JobView<'_>| {
            let state = parent.status.ended()?;
            Some(ParentJob {
                job: parent.node.id,
                name: parent.node.name.clone(),
                state,
            })
        };
        let spec = process.specs.get(&attempt.job.specified_by())?;
        let job = match attempt.job.array_and_index() {
            Some((_, index)) => spec.of_index(index).ok()?,
            None => spec.clone(),
        };
        Some(Assignment {
            attempt,
            build: BuildContext {
                project: view.project.id,
                project_name: view.project.name.clone(),
                build: view.build.id,
                number: view.build.number,
                restarts: view.build.restarts,
                public_url: String::new(),
                revision: view.build.revision.clone(),
                outcome: None,
            },
            job,
            source: None,
            inputs,
            parents: view.parents.iter().filter_map(parent).collect(),
            labels: Labels::default(),
            volumes_together: Default::default(),
            waiting_per_hour: Cost(0),
            cache: None,
        })
    }

    /// Takes a connection, if the cluster has joined.
    pub(crate) fn accept(&mut self, agent: usize) -> Option<u64> {
        let life = self.draw_leader()?;
        let name = self.agents[agent].name.clone();
        let process = self.master.process_mut(life)?;
        process.control.cluster(&name)?;
        self.master.sessions += 1;
        // Higher than those of all leaders before.
        let id = SessionId((life << 32) + self.master.sessions);
        let now = self.schedule.now();
        let process = self.master.process_mut(life)?;
        let connection = self.network.open(agent, now);
        let steady = World::now_of(now, process.clock).steady;
        process
            .sessions
            .insert(connection, Session::new(session_settings(), name, id, steady));
        self.plan_master_tick(life);
        Some(connection)
    }

    pub(crate) fn arrive_at_master(&mut self, connection: u64, frame: AgentFrame) {
        let Some(end) = self.network.connections.get(&connection) else {
            return;
        };
        if end.master_open && !self.network.up_is_cut(end.agent) {
            self.note(|| format!("master hears on {connection}: {frame:?}"));
            let life = self.master.life_of(connection);
            self.session_event(connection, Event::Frame(frame));
            life.into_iter().for_each(|life| self.master_work(life));
        }
    }

    pub(crate) fn master_end_broke(&mut self, connection: u64) {
        let Some(end) = self.network.connections.get(&connection) else {
            return;
        };
        if end.master_open {
            let life = self.master.life_of(connection);
            self.end_session(connection);
            life.into_iter().for_each(|life| self.master_work(life));
        }
    }

    pub(super) fn session_event(&mut self, connection: u64, event: Event) {
        let Some(life) = self.master.life_of(connection) else {
            return;
        };
        let may_act = self.acts(life);
        let Some(process) = self.master.process_mut(life) else {
            return;
        };
        let Some(session) = process.sessions.get_mut(&connection) else {
            return;
        };
        let steady = World::now_of(self.schedule.now(), process.clock).steady;
        for action in session.handle(steady, event) {
            match action {
                // Whether it leads is asked for each frame.
                Action::Send(_) if !may_act => {
                    self.end_session(connection);
                    return;
                }
                Action::Send(frame) => {
                    self.history.note(self.schedule.now(), || {
                        format!("master says on {connection}: {frame:?}")
                    });
                    let random = (&mut self.schedule, &mut self.rng);
                    self.network.send_down(connection, &frame, &self.scenario, random);
                }
                Action::Apply { ticket, command } => {
                    let command = self.generated.complete(command);
                    process
                        .inbox
                        .push_back((Origin::Session { connection, ticket }, command));
                }
                // Nobody waits for the answer.
                Action::Tell(command) => process.inbox.push_back((Origin::Own, command)),
                Action::Progress(_) => {}
                Action::Close(error) => {
                    self.history
                        .note(self.schedule.now(), || format!("master closes {connection}: {error}"));
                    self.end_session(connection);
                    return;
                }
            }
        }
    }

    fn end_session(&mut self, connection: u64) {
        let life = self.master.life_of(connection);
        if let Some(process) = life.and_then(|life| self.master.process_mut(life))
            && let Some(session) = process.sessions.remove(&connection)
        {
            let (cluster, session) = (session.cluster().clone(), session.id());
            process
                .inbox
                .push_back((Origin::Own, Command::Disconnect { cluster, session }));
        }
        let delay = self.draw_time(self.scenario.latency);
        self.network.close_master_end(connection, &mut self.schedule, delay);
    }

    /// Ends the connections of a cluster that was removed.
    pub(super) fn end_sessions_of(&mut self, life: u64, name: &ClusterName) {
        let Some(process) = self.master.process(life) else {
            return;
        };
        let of = process.sessions.iter().filter(|(_, session)| session.cluster() == name);
        let connections: Vec<u64> = of.map(|(connection, _)| *connection).collect();
        for connection in connections {
            self.end_session(connection);
        }
    }
}

/// An output, as an input.
fn reference(input: &control::InputView<'_>) -> InputReference {
    let source = |cluster: &&ClusterName| InputSource {
        cluster: (*cluster).clone(),
        peer_address: None,
        direct_per_gigabyte: Cost(0),
        relay_per_gigabyte: Cost(0),
    };
    InputReference {
        job: input.parent.id(),
        name: input.parent.node.name.clone(),
        index: input.index,
        output: input.output,
        sources: input.holders.iter().map(source).collect(),
        grant: Vec::new(),
    }
}
