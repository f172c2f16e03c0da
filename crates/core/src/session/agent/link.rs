//! The present connection of an agent.

use std::collections::VecDeque;
use std::time::Duration;

use super::attempts::Attempts;
use super::volumes::Volumes;
use super::{Action, Settings};
use crate::id::AttemptId;
use crate::planted::{Bug, planted};
use crate::session::outstanding::Outstanding;
use crate::session::{AgentFrame, AttemptReport, Error, Welcome};
use crate::time::Moment;

/// Heartbeats whose acknowledgement is waited for; an older one would renew the lease by less than the next one does.
const HEARTBEATS_REMEMBERED: usize = 16;

#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// Hello was said.
    Greeting {
        first_at: Moment,
        again_at: Moment,
    },
    Up(Box<Up>),
}

/// A connection on which hello and welcome were exchanged.
#[derive(Debug)]
pub(super) struct Up {
    welcome: Welcome,
    silence: Duration,
    heard_at: Moment,
    /// When the welcome came, or the last heartbeat was sent.
    beat_at: Moment,
    /// Until the next heartbeat, while there is no attempt.
    idle_heartbeat: Duration,
    last_heartbeat: u64,
    heartbeats: VecDeque<(u64, Moment)>,
    report_credits: usize,
    reports: Outstanding<SentReport>,
}

#[derive(Debug, Clone, Copy)]
struct SentReport {
    attempt: AttemptId,
    rank: u8,
}

impl Up {
    /// `said_at`: when the hello was sent that the welcome answers, and from which the lease counts.
    pub(super) fn new(settings: &Settings, welcome: Welcome, said_at: Moment, now: Moment) -> Self {
        Self {
            silence: welcome.heartbeat.saturating_mul(settings.silent_heartbeats),
            heard_at: now,
            beat_at: said_at,
            // The other half of the lease is for the way and the answer.
            idle_heartbeat: (welcome.lease / 2).clamp(welcome.heartbeat, 2 * welcome.heartbeat),
            last_heartbeat: 0,
            heartbeats: VecDeque::new(),
            report_credits: settings.report_credits,
            reports: Outstanding::new(settings.report_retry),
            welcome,
        }
    }

    /// The welcome may come twice, if the hello did.
    pub(super) fn welcomed_again(&self, welcome: &Welcome) -> Result<(), Error> {
        if self.welcome == *welcome {
            Ok(())
        } else {
            Err(Error::Unexpected {
                frame: "welcome",
                why: "another one was said before",
            })
        }
    }

    /// How long the handover lease lasts.
    pub(super) const fn handover(&self) -> Duration {
        self.welcome.handover
    }

    pub(super) const fn heard(&mut self, now: Moment) {
        self.heard_at = now;
    }

    pub(super) fn deadline(&self, attempts: &Attempts) -> Moment {
        let first = self
            .next_heartbeat_at(attempts)
            .min(self.heard_at + self.silence(attempts));
        self.reports.next_due().map_or(first, |due| due.min(first))
    }

    /// Most clusters have nothing to do most of the time, and then only their being there is to be known. The first attempt that comes asks for a lease
    /// as long as all others have.
    fn next_heartbeat_at(&self, attempts: &Attempts) -> Moment {
        self.beat_at + self.pause(attempts)
    }

    fn pause(&self, attempts: &Attempts) -> Duration {
        if attempts.is_empty() {
            self.idle_heartbeat
        } else {
            self.welcome.heartbeat
        }
    }

    /// How long the master may say nothing: its answers have as much time whether they are asked for often or seldom.
    fn silence(&self, attempts: &Attempts) -> Duration {
        self.silence + self.pause(attempts).saturating_sub(self.welcome.heartbeat)
    }

    /// Does what time and credits ask for.
    pub(super) fn tick(
        &mut self,
        now: Moment,
        attempts: &mut Attempts,
        volumes: &mut Volumes,
        actions: &mut Vec<Action>,
    ) -> Result<(), Error> {
        let silence = self.silence(attempts);
        if now >= self.heard_at + silence {
            return Err(Error::Silent(silence));
        }
        if now >= self.next_heartbeat_at(attempts) {
            actions.push(Action::Send(AgentFrame::Heartbeat {
                sequence: self.beat(now),
            }));
            actions.extend(volumes.say_again().map(Action::Send));
        }
        self.repeat_reports(now, attempts, actions);
        while self.reports.len() < self.report_credits
            && let Some(AttemptReport { attempt, phase }) = attempts.next_unreported()
        {
            let sequence = self.reports.add(
                now,
                SentReport {
                    attempt,
                    rank: phase.rank(),
                },
            );
            actions.push(Action::Send(AgentFrame::Report {
                sequence,
                attempt,
                phase,
            }));
        }
        Ok(())
    }

    /// Gives the attempt that the report was about, unless the report is settled already.
    pub(super) fn report_acknowledged(&mut self, sequence: u64) -> Result<Option<AttemptId>, Error> {
        if !self.reports.was_sent(sequence) {
            return Err(Error::Unexpected {
                frame: "report acknowledged",
                why: "there was no such report",
            });
        }
        Ok(self.reports.remove(sequence).map(|report| report.attempt))
    }

    /// The number of the latest report.
    pub(super) const fn last_report(&self) -> u64 {
        self.reports.last()
    }

    fn beat(&mut self, now: Moment) -> u64 {
        self.beat_at = now;
        self.last_heartbeat += 1;
        if self.heartbeats.len() == HEARTBEATS_REMEMBERED {
            self.heartbeats.pop_front();
        }
        self.heartbeats.push_back((self.last_heartbeat, now));
        self.last_heartbeat
    }

    /// Until when the lease lasts now that this heartbeat was acknowledged; none if a later one was before.
    pub(super) fn renewed(&mut self, sequence: u64) -> Result<Option<Moment>, Error> {
        if sequence == 0 || sequence > self.last_heartbeat {
            return Err(Error::Unexpected {
                frame: "heartbeat acknowledged",
                why: "there was no such heartbeat",
            });
        }
        let mut until = None;
        while let Some(&(first, sent_at)) = self.heartbeats.front()
            && first <= sequence
        {
            self.heartbeats.pop_front();
            if first == sequence {
                let from = if planted(Bug::LeaseFromReceipt) {
                    self.heard_at
                } else {
                    sent_at
                };
                until = Some(from + self.welcome.lease);
            }
        }
        Ok(until)
    }

    /// Repeats what is due: the same under the same number, or, if the attempt is further now, only that.
    fn repeat_reports(&mut self, now: Moment, attempts: &mut Attempts, actions: &mut Vec<Action>) {
        for sequence in self.reports.take_due(now) {
            let Some(&SentReport { attempt, rank }) = self.reports.get(sequence) else {
                continue;
            };
            match attempts.phase(attempt) {
                Some(phase) if phase.rank() == rank => {
                    actions.push(Action::Send(AgentFrame::Report {
                        sequence,
                        attempt,
                        phase: phase.clone(),
                    }));
                }
                // The later phase was sent under its own number, or waits for credits: this one gives its own back.
                Some(_) | None => drop(self.reports.remove(sequence)),
            }
        }
    }
}
