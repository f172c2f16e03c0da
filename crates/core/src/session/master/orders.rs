//! The orders to one agent that it has not acknowledged.

use std::collections::{BTreeSet, VecDeque};

use super::Settings;
use crate::id::{AttemptId, JobId};
use crate::session::outstanding::Outstanding;
use crate::session::{Error, MasterFrame, OrderFrame};
use crate::time::Moment;
use crate::volume::VolumeId;

/// Orders that were sent, and orders that wait for credits.
#[derive(Debug)]
pub(super) struct Orders {
    credits: usize,
    limit: usize,
    sent: Outstanding<OrderFrame>,
    waiting: VecDeque<OrderFrame>,
    /// Which orders are in either, so that one is not given twice.
    present: BTreeSet<(Subject, Kind)>,
}

/// What an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Attempt(AttemptId),
    Volume(VolumeId),
    Output(JobId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Assign,
    Stop,
    Forget,
    Release,
    Prefetch,
    Copy,
}

impl Orders {
    pub(super) const fn new(settings: &Settings) -> Self {
        Self {
            credits: settings.order_credits,
            limit: settings.waiting_orders,
            sent: Outstanding::new(settings.order_retry),
            waiting: VecDeque::new(),
            present: BTreeSet::new(),
        }
    }

    /// Queues an order. One that is there already is not sent twice, and to forget makes all before it pointless.
    pub(super) fn push(&mut self, order: OrderFrame) -> Result<(), Error> {
        let (subject, kind) = key(&order);
        if self.present.contains(&(subject, kind)) {
            return Ok(());
        }
        if kind == Kind::Forget {
            let removed = [Kind::Assign, Kind::Stop].map(|other| self.present.remove(&(subject, other)));
            if removed.contains(&true) {
                self.sent.discard(|other| key(other).0 == subject);
                self.waiting.retain(|other| key(other).0 != subject);
            }
        }
        // What is only a hint leaves the room to orders that count.
        if matches!(kind, Kind::Prefetch | Kind::Copy) && self.waiting.len() >= self.limit / 2 {
            return Ok(());
        }
        if self.waiting.len() >= self.limit {
            return Err(Error::TooMany {
                what: "orders waiting for an agent",
                limit: self.limit,
            });
        }
        self.present.insert((subject, kind));
        self.waiting.push_back(order);
        Ok(())
    }

    /// Takes in an acknowledgement, if there ever was such an order.
    pub(super) fn acknowledged(&mut self, sequence: u64) -> Result<(), Error> {
        if !self.sent.was_sent(sequence) {
            return Err(Error::Unexpected {
                frame: "order acknowledged",
                why: "there was no such order",
            });
        }
        if let Some(order) = self.sent.remove(sequence) {
            self.present.remove(&key(&order));
        }
        Ok(())
    }

    /// What is to be sent now: first what is due again, then what waited, as far as the credits go.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<MasterFrame> {
        let mut frames = Vec::new();
        for sequence in self.sent.take_due(now) {
            let again = self.sent.get(sequence).cloned();
            frames.extend(again.map(|order| MasterFrame::Order { sequence, order }));
        }
        while self.sent.len() < self.credits
            && let Some(order) = self.waiting.pop_front()
        {
            let sequence = self.sent.add(now, order.clone());
            frames.push(MasterFrame::Order { sequence, order });
        }
        frames
    }

    /// When the next is due again.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.sent.next_due()
    }
}

fn key(order: &OrderFrame) -> (Subject, Kind) {
    match order {
        OrderFrame::Assign(assignment) => (Subject::Attempt(assignment.attempt), Kind::Assign),
        OrderFrame::Stop { attempt, .. } => (Subject::Attempt(*attempt), Kind::Stop),
        OrderFrame::Forget(attempt) => (Subject::Attempt(*attempt), Kind::Forget),
        OrderFrame::Release(volume) => (Subject::Volume(*volume), Kind::Release),
        OrderFrame::Prefetch(prefetch) if prefetch.confirm => (Subject::Output(prefetch.input.job), Kind::Copy),
        OrderFrame::Prefetch(prefetch) => (Subject::Output(prefetch.input.job), Kind::Prefetch),
    }
}
