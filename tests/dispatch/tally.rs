//! What became of jobs, as the agents see it: who is told to forget an attempt knows that its end is on the master's disk.

#![allow(dead_code, reason = "not every benchmark that includes this file needs all of it")]

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;
use tombolo_core::attempt::Assignment;
use tombolo_core::id::AttemptId;

/// Builds by their numbers; there is one project.
#[derive(Default)]
pub(crate) struct Tally {
    inner: Mutex<Inner>,
    ended: Notify,
}

#[derive(Default)]
struct Inner {
    running: HashMap<AttemptId, u64>,
    starts: HashMap<u64, Vec<Instant>>,
    ends: HashMap<u64, usize>,
    jobs: usize,
}

impl Tally {
    pub(crate) fn started(&self, assignment: &Assignment) {
        let number = assignment.build.number;
        let mut inner = self.inner();
        if inner.running.insert(assignment.attempt, number).is_none() {
            inner.starts.entry(number).or_default().push(Instant::now());
        }
    }

    pub(crate) fn forgotten(&self, attempt: AttemptId) {
        {
            let mut inner = self.inner();
            let Some(number) = inner.running.remove(&attempt) else {
                return;
            };
            *inner.ends.entry(number).or_default() += 1;
            inner.jobs += 1;
        }
        self.ended.notify_waiters();
    }

    /// How many jobs have ended.
    pub(crate) fn jobs(&self) -> usize {
        self.inner().jobs
    }

    /// Waits until so many jobs of a build have ended.
    pub(crate) async fn build(&self, number: u64, jobs: usize) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Whoever ends from here on is heard of.
            ended.as_mut().enable();
            if self.inner().ends.get(&number).copied().unwrap_or(0) >= jobs {
                return;
            }
            ended.await;
        }
    }

    /// When the jobs of a build were started.
    pub(crate) fn starts(&self, number: u64) -> Vec<Instant> {
        self.inner().starts.get(&number).cloned().unwrap_or_default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
