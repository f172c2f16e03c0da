//! What the master says, and what becomes of its orders.

use super::super::{AgentFrame, Error, MasterFrame, OrderFrame};
use super::attempts::{Assigned, Forgetting, Stopping};
use super::link::{Link, Up};
use super::{Action, Session};
use crate::time::{Moment, Now};

impl Session {
    pub(super) fn hear(&mut self, now: Now, frame: MasterFrame, actions: &mut Vec<Action>) -> Result<(), Error> {
        match &mut self.link {
            Link::Down => Ok(()),
            Link::Greeting { first_at, .. } => {
                let MasterFrame::Welcome(welcome) = frame else {
                    return Err(Error::Unexpected {
                        frame: kind(&frame),
                        why: "the master has not said welcome",
                    });
                };
                if welcome.heartbeat.is_zero() || welcome.lease <= welcome.heartbeat {
                    return Err(Error::Unexpected {
                        frame: "welcome",
                        why: "the lease must outlast the heartbeat",
                    });
                }
                let said_at = *first_at;
                let until = said_at + welcome.lease;
                self.lease_length = welcome.lease;
                self.link = Link::Up(Box::new(Up::new(&self.settings, welcome, said_at, now.steady)));
                self.renew(now.steady, until, false);
                let survey = self.survey.clone().map(AgentFrame::Survey);
                let rest = self.waits.frames().chain(self.volumes.welcomed());
                actions.extend(survey.into_iter().chain(rest).map(Action::Send));
                Ok(())
            }
            Link::Up(_) => self.hear_up(now, frame, actions),
        }
    }

    fn hear_up(&mut self, now: Now, frame: MasterFrame, actions: &mut Vec<Action>) -> Result<(), Error> {
        let Link::Up(up) = &mut self.link else { return Ok(()) };
        up.heard(now.steady);
        match frame {
            MasterFrame::Welcome(welcome) => up.welcomed_again(&welcome)?,
            MasterFrame::HeartbeatAcknowledged { sequence } => {
                if let Some(until) = up.renewed(sequence)? {
                    self.renew(now.steady, until, true);
                }
            }
            MasterFrame::ReportAcknowledged { sequence } => {
                if let Some(attempt) = up.report_acknowledged(sequence)? {
                    self.lease.reported(attempt, sequence);
                    self.holds.confirm(attempt);
                }
            }
            MasterFrame::Order { sequence, order } => {
                // An assignment that is said again may be older than a lapse.
                let is_old = self.lease.has_lapsed() && matches!(order, OrderFrame::Assign(_));
                if let Some(attempt) = order.attempt().filter(|_| !is_old) {
                    self.lease.confirmed(attempt);
                }
                self.obey(now, sequence, order, actions);
            }
            MasterFrame::HandedOver => self.handover.granted_now()?,
            MasterFrame::TunnelOffered { tunnel } => actions.push(Action::AcceptTunnel(tunnel)),
        }
        Ok(())
    }

    /// The master has renewed the lease: until then, unless the old one has lapsed and something is to be confirmed.
    fn renew(&mut self, now: Moment, until: Moment, connected: bool) {
        let Link::Up(up) = &self.link else { return };
        if !self.lease.extend(now, until) {
            let last_report = up.last_report();
            self.lease
                .begin(until, self.attempts.reconfirm(), last_report, connected);
        }
    }

    fn obey(&mut self, now: Now, sequence: u64, order: OrderFrame, actions: &mut Vec<Action>) {
        let done = match order {
            OrderFrame::Assign(assignment) => match self.attempts.assign(assignment.attempt, sequence) {
                Assigned::Fresh => {
                    let Link::Up(up) = &self.link else { return };
                    self.lease.assigned(assignment.attempt, up.last_report());
                    if assignment.job.extensions.as_ref().is_some_and(|says| says.exclusive) {
                        self.holds.add(assignment.attempt);
                        self.holds.confirm(assignment.attempt);
                    }
                    actions.push(Action::Start(assignment));
                    false
                }
                Assigned::Known | Assigned::Stale => true,
                Assigned::Waiting | Assigned::Full => false,
            },
            OrderFrame::Stop { attempt, reason } => {
                self.holds.remove(attempt);
                if self.attempts.stop(attempt, now.wall) == Stopping::Begin {
                    actions.push(Action::Stop { attempt, reason });
                }
                true
            }
            OrderFrame::Forget(attempt) => {
                self.holds.remove(attempt);
                match self.attempts.forget(attempt, sequence) {
                    Forgetting::Begin => {
                        actions.push(Action::Forget(attempt));
                        false
                    }
                    Forgetting::Waiting => false,
                    Forgetting::Done => true,
                }
            }
            OrderFrame::Release(volume) => {
                if self.volumes.release(volume, sequence) {
                    actions.push(Action::Release(volume));
                }
                false
            }
            OrderFrame::Prefetch(prefetch) => {
                actions.push(Action::Prefetch(prefetch));
                true
            }
        };
        if done {
            self.acknowledge(sequence, actions);
        }
    }
}

const fn kind(frame: &MasterFrame) -> &'static str {
    match frame {
        MasterFrame::Welcome(_) => "welcome",
        MasterFrame::HeartbeatAcknowledged { .. } => "heartbeat acknowledged",
        MasterFrame::ReportAcknowledged { .. } => "report acknowledged",
        MasterFrame::Order { .. } => "order",
        MasterFrame::TunnelOffered { .. } => "tunnel offered",
        MasterFrame::HandedOver => "handed over",
    }
}
