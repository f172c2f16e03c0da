//! The master's end of the link: one for each connection.

mod orders;
mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::orders::Orders;
pub use self::settings::Settings;
use super::{AgentFrame, Error, Hello, MasterFrame, OrderFrame, Welcome};
use crate::attempt::Phase;
use crate::build::TerminalState;
use crate::control::event::TransferProgress;
use crate::control::{Command, Refusal};
use crate::id::{AttemptId, SessionId, TunnelId};
use crate::name::ClusterName;
use crate::time::Moment;

/// Which request of the agent a command stands for; goes to the driver with the command and comes back with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// Its hello.
    Hello,
    /// A heartbeat.
    Heartbeat {
        /// The heartbeat's number.
        sequence: u64,
    },
    /// It asks for the handover lease.
    HandOver,
    /// A report.
    Report {
        /// The report's number.
        sequence: u64,
        /// The attempt that it is about.
        attempt: AttemptId,
    },
}

/// What the driver tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// The agent says something.
    Frame(AgentFrame),
    /// A command of [`Action::Apply`] was applied, and what it changed is durable; or it was refused.
    Applied {
        /// The command's ticket.
        ticket: Ticket,
        /// Whether it was refused.
        result: Result<(), Refusal>,
    },
    /// The control plane wants something of the agent. May come before the answer to the hello.
    Order(OrderFrame),
    /// Somebody wants a tunnel to the agent.
    OfferTunnel(TunnelId),
    /// The deadline has come.
    Tick,
}

/// What the driver is to do, in this order.
#[derive(Debug, Clone)]
pub enum Action {
    /// Send this.
    Send(MasterFrame),
    /// Give this to the control plane and answer with [`Event::Applied`].
    Apply {
        /// To be brought back with the answer.
        ticket: Ticket,
        /// What to apply.
        command: Command,
    },
    /// Give this to the control plane; nobody waits for the answer, and it may be dropped under load.
    Tell(Command),
    /// Tell watchers how far a transfer is. The driver checks that the attempt is this cluster's.
    Progress(TransferProgress),
    /// Drop the connection and, if a hello was applied, apply [`Command::Disconnect`].
    Close(Error),
}

/// The master's end of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    cluster: ClusterName,
    id: SessionId,
    state: State,
    heard_at: Moment,
    orders: Orders,
    pending_reports: BTreeSet<u64>,
    pending_heartbeats: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was said yet.
    New { until: Moment },
    /// The hello is being taken in.
    Greeted,
    /// Welcome was said.
    Live,
    /// Over: nothing is heard and nothing said.
    Closed,
}

impl Session {
    /// The end of a connection that stands since `now`. `cluster` is whom its certificate names, `id` higher than that
    /// of all sessions before.
    pub fn new(settings: Settings, cluster: ClusterName, id: SessionId, now: Moment) -> Self {
        let state = State::New {
            until: now + settings.hello_timeout,
        };
        Self {
            orders: Orders::new(&settings),
            settings,
            cluster,
            id,
            state,
            heard_at: now,
            pending_reports: BTreeSet::new(),
            pending_heartbeats: BTreeSet::new(),
        }
    }

    /// The session's id.
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The cluster at the other end.
    pub const fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Takes in one event. Call it also when [`Self::deadline`] has come.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.state == State::Closed {
            return actions;
        }
        let taken = match event {
            Event::Frame(frame) => self.hear(now, frame, &mut actions),
            Event::Applied { ticket, result } => self.applied(ticket, result, &mut actions),
            Event::Order(order) => self.orders.push(order),
            Event::OfferTunnel(tunnel) => {
                if self.state == State::Live {
                    actions.push(Action::Send(MasterFrame::TunnelOffered { tunnel }));
                }
                Ok(())
            }
            Event::Tick => Ok(()),
        };
        if let Err(error) = taken.and_then(|()| self.tick(now, &mut actions)) {
            self.state = State::Closed;
            actions.push(Action::Close(error));
        }
        actions
    }

    /// When to call [`Self::handle`] with [`Event::Tick`], if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        let silent = self.heard_at + self.settings.lease;
        match self.state {
            State::New { until } => Some(until),
            State::Greeted => Some(silent),
            State::Live => Some(self.orders.next_due().map_or(silent, |due| due.min(silent))),
            State::Closed => None,
        }
    }

    fn hear(&mut self, now: Moment, frame: AgentFrame, actions: &mut Vec<Action>) -> Result<(), Error> {
        self.heard_at = now;
        match (self.state, frame) {
            (State::New { .. }, AgentFrame::Hello(hello)) => {
                self.check(&hello)?;
                self.state = State::Greeted;
                let command = Command::Connect {
                    cluster: self.cluster.clone(),
                    session: self.id,
                    hello,
                };
                actions.push(Action::Apply {
                    ticket: Ticket::Hello,
                    command,
                });
                Ok(())
            }
            // Said again because the welcome was late or lost. What has changed since is reported after the welcome.
            (State::Greeted, AgentFrame::Hello(_)) | (State::Closed, _) => Ok(()),
            (State::Live, frame) => self.hear_live(frame, actions),
            (State::New { .. } | State::Greeted, frame) => Err(Error::Unexpected {
                frame: kind(&frame),
                why: "the agent has not been welcomed",
            }),
        }
    }

    fn hear_live(&mut self, frame: AgentFrame, actions: &mut Vec<Action>) -> Result<(), Error> {
        let (cluster, session) = (self.cluster.clone(), self.id);
        match frame {
            AgentFrame::Hello(_) => actions.push(self.welcome()),
            AgentFrame::Heartbeat { sequence } => {
                if self.pending_heartbeats.len() < self.settings.pending_heartbeats
                    && self.pending_heartbeats.insert(sequence)
                {
                    let command = Command::Heartbeat { cluster, session };
                    actions.push(Action::Apply {
                        ticket: Ticket::Heartbeat { sequence },
                        command,
                    });
                }
            }
            AgentFrame::Report {
                sequence,
                attempt,
                phase,
            } => {
                check_phase(attempt, &phase)?;
                if self.pending_reports.len() < self.settings.pending_reports && self.pending_reports.insert(sequence) {
                    let command = Command::Report {
                        // The driver reads what the attempt has left.
                        generated: None,
                        cluster,
                        session,
                        attempt,
                        phase,
                    };
                    actions.push(Action::Apply {
                        ticket: Ticket::Report { sequence, attempt },
                        command,
                    });
                }
            }
            AgentFrame::HandOver => actions.push(Action::Apply {
                ticket: Ticket::HandOver,
                command: Command::HandOver { cluster, session },
            }),
            AgentFrame::OrderAcknowledged { sequence } => self.orders.acknowledged(sequence)?,
            AgentFrame::Progress(progress) => actions.push(Action::Progress(progress)),
            AgentFrame::Survey(survey) => actions.push(Action::Tell(Command::Survey {
                cluster,
                session,
                survey,
            })),
            AgentFrame::Holds(volume) => actions.push(Action::Tell(Command::Holds {
                cluster,
                session,
                volume,
            })),
            AgentFrame::Copied(copied) => actions.push(Action::Tell(Command::Copied {
                from: (cluster, session),
                copied,
            })),
            AgentFrame::Waits { attempt, reason } => actions.push(Action::Tell(Command::Waits {
                cluster,
                session,
                attempt,
                reason,
            })),
        }
        Ok(())
    }

    fn check(&self, hello: &Hello) -> Result<(), Error> {
        let limit = self.settings.hello_attempts;
        if hello.attempts.len() > limit {
            return Err(Error::TooMany {
                what: "attempts in a hello",
                limit,
            });
        }
        if hello.volumes.len() > limit {
            return Err(Error::TooMany {
                what: "volumes in a hello",
                limit,
            });
        }
        let mut seen = BTreeSet::new();
        for report in &hello.attempts {
            check_phase(report.attempt, &report.phase)?;
            if !seen.insert(report.attempt) {
                return Err(Error::RepeatedAttempt(report.attempt));
            }
        }
        Ok(())
    }

    fn applied(&mut self, ticket: Ticket, result: Result<(), Refusal>, actions: &mut Vec<Action>) -> Result<(), Error> {
        match ticket {
            Ticket::Hello => {
                result?;
                self.state = State::Live;
                actions.push(self.welcome());
            }
            Ticket::Heartbeat { sequence } => {
                self.pending_heartbeats.remove(&sequence);
                result?;
                actions.push(Action::Send(MasterFrame::HeartbeatAcknowledged { sequence }));
            }
            Ticket::HandOver => {
                result?;
                actions.push(Action::Send(MasterFrame::HandedOver));
            }
            Ticket::Report { sequence, attempt } => {
                self.pending_reports.remove(&sequence);
                match result {
                    Ok(()) => {}
                    // An acknowledgement would confirm it; the order to forget it is the answer.
                    Err(Refusal::StaleAttempt(_)) => return self.orders.push(OrderFrame::Forget(attempt)),
                    Err(refusal @ (Refusal::StaleSession | Refusal::NotFound { .. })) => return Err(refusal.into()),
                    // It may be taken another time: left unacknowledged, it is repeated.
                    Err(_) => return Ok(()),
                }
                actions.push(Action::Send(MasterFrame::ReportAcknowledged { sequence }));
            }
        }
        Ok(())
    }

    fn welcome(&self) -> Action {
        Action::Send(MasterFrame::Welcome(Welcome {
            session: self.id,
            cluster: self.cluster.clone(),
            heartbeat: self.settings.heartbeat,
            lease: self.settings.lease,
            handover: self.settings.handover,
        }))
    }

    /// Does what time and credits ask for.
    fn tick(&mut self, now: Moment, actions: &mut Vec<Action>) -> Result<(), Error> {
        match self.state {
            State::New { until } if now >= until => return Err(Error::HelloMissing(self.settings.hello_timeout)),
            State::New { .. } | State::Closed => return Ok(()),
            State::Greeted | State::Live if now >= self.heard_at + self.settings.lease => {
                return Err(Error::Silent(self.settings.lease));
            }
            State::Greeted => return Ok(()),
            State::Live => {}
        }
        actions.extend(self.orders.take_due(now).into_iter().map(Action::Send));
        Ok(())
    }
}

fn check_phase(attempt: AttemptId, phase: &Phase) -> Result<(), Error> {
    match phase {
        Phase::Ended(outcome) if outcome.state == TerminalState::Skipped => Err(Error::SkippedByAgent(attempt)),
        _ => Ok(()),
    }
}

const fn kind(frame: &AgentFrame) -> &'static str {
    match frame {
        AgentFrame::Hello(_) => "hello",
        AgentFrame::Heartbeat { .. } => "heartbeat",
        AgentFrame::Report { .. } => "report",
        AgentFrame::OrderAcknowledged { .. } => "order acknowledged",
        AgentFrame::Progress(_) => "progress",
        AgentFrame::Survey(_) => "survey",
        AgentFrame::Holds(_) => "holds",
        AgentFrame::Waits { .. } => "waits",
        AgentFrame::HandOver => "hand over",
        AgentFrame::Copied(_) => "copied",
    }
}
