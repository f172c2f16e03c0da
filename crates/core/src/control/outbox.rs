//! What a command brings about, while it is being carried out.

use super::builds::{JobKey, LiveJob};
use super::record::Build;
use super::{Change, Effects, Event, EventKind, Refusal, Reply};
use crate::id::BuildId;
use crate::name::ClusterName;
use crate::session::Order;
use crate::time::Now;

/// Collects the effects of one command. Jobs are noted when they change and written once, as they are in the end.
#[derive(Debug)]
pub(super) struct Outbox {
    /// When the command is carried out.
    pub(super) now: Now,
    pub(super) changes: Vec<Change>,
    pub(super) orders: Vec<(ClusterName, Order)>,
    pub(super) events: Vec<Event>,
    /// Jobs to write, each once.
    pub(super) touched: Vec<JobKey>,
    /// Jobs that left an output behind.
    pub(super) outputs: Vec<JobKey>,
    /// Builds whose jobs are all terminal now.
    pub(super) ended: Vec<BuildId>,
    /// Arrays that something has happened to: what is next with them is done before anything is placed.
    pub(super) arrays: Vec<JobKey>,
}

impl Outbox {
    pub(super) fn new(now: Now) -> Self {
        Self {
            now,
            changes: Vec::new(),
            orders: Vec::new(),
            events: Vec::new(),
            touched: Vec::new(),
            outputs: Vec::new(),
            ended: Vec::new(),
            arrays: Vec::new(),
        }
    }

    pub(super) fn order(&mut self, cluster: &ClusterName, order: Order) {
        self.orders.push((cluster.clone(), order));
    }

    /// Notes that the job changed.
    pub(super) fn touch(&mut self, key: JobKey, job: &mut LiveJob) {
        if !job.touched {
            job.touched = true;
            self.touched.push(key);
        }
    }

    pub(super) fn event(&mut self, build: &Build, kind: EventKind) {
        self.events.push(Event {
            at: self.now.wall,
            project: build.project,
            build: build.id,
            kind,
        });
    }

    pub(super) fn into_effects(self, reply: Result<Reply, Refusal>) -> Effects {
        Effects {
            reply,
            changes: self.changes,
            orders: self.orders,
            events: self.events,
        }
    }
}
