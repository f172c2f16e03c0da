//! One batch: applied together, written together.

use std::sync::Arc;
use std::time::Duration;

use tombolo_core::build::JobSpec;
use tombolo_core::control::{Change, Command, Event, Refusal, Reply};
use tombolo_core::name::ClusterName;
use tombolo_core::planted::{Bug, planted};
use tombolo_core::session::Order;
use tombolo_store::Store;

use super::commit::Written;
use super::message::Request;
use super::{ApplyError, Driver, Error};

/// The most commands of one batch. More do not make a commit noticeably cheaper per command.
pub(super) const COMMANDS_MAX: usize = 1024;

/// From how many rows on a batch takes no further command: some ten milliseconds of writing.
const ROWS_MAX: usize = 8192;

/// From how many bytes on (of what users wrote, about) a batch takes no further command.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// After how long a batch takes no further command: who came first is not to wait for all who came after.
const APPLY_MAX: Duration = Duration::from_millis(5);

/// How long a rejected tick waits. Without a pause the driver would do nothing but begin again.
const TICK_PAUSE: Duration = Duration::from_secs(5);

/// What stays of a row when its texts are taken away, in bytes, about.
const ROW_BYTES: usize = 256;

/// What one command brings about once its batch is durable.
pub(super) struct Outcome {
    pub(super) reply: Result<Reply, Refusal>,
    pub(super) orders: Vec<(ClusterName, Order)>,
    pub(super) events: Vec<Event>,
}

/// A batch that was applied and is not yet durable.
pub(super) struct Applied {
    pub(super) requests: Vec<Request>,
    /// One for each request.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) changes: Arc<Vec<Change>>,
}

impl Applied {
    /// Whoever waits for it, and what it brings about, without what is to be written.
    fn take(&mut self) -> Self {
        Self {
            requests: std::mem::take(&mut self.requests),
            outcomes: std::mem::take(&mut self.outcomes),
            changes: Arc::clone(&self.changes),
        }
    }
}

impl<S: Store> Driver<S> {
    /// Applies the next batch, makes it durable, and lets its effects out.
    pub(super) async fn process(&mut self) -> Result<(), Error> {
        let mut applied = self.apply();
        if applied.requests.is_empty() {
            return Ok(());
        }
        if planted(Bug::AnswersBeforeCommit) {
            let early = applied.take();
            self.release(early).await;
        }
        match self.commit(&applied.changes).await? {
            Written::Durable => {
                self.suspects = self.suspects.saturating_sub(applied.requests.len());
                if self.suspects == 0 {
                    self.batch_limit = COMMANDS_MAX;
                }
                self.release(applied).await;
                Ok(())
            }
            Written::Rejected(reason) => self.reject(applied.requests, &reason).await,
            Written::Unavailable => {
                let (applied, waiting) = (applied.requests.into_iter(), self.pending.drain(..));
                applied
                    .chain(waiting)
                    .for_each(|request| request.fail(ApplyError::Unavailable));
                self.tick.pending = false;
                self.restart().await
            }
        }
    }

    fn apply(&mut self) -> Applied {
        let (mut requests, mut outcomes, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rows, mut bytes) = (0, 0);
        let began = self.clock.now();
        while requests.len() < self.batch_limit
            && let Some(request) = self.pending.pop_front()
        {
            let now = self.clock.now();
            if matches!(request.command, Command::Tick) {
                self.tick.pending = false;
            }
            // The command is kept: should the batch be rejected, it is applied again.
            let effects = self.control.apply(now, request.command.clone());
            for change in &effects.changes {
                let (change_rows, change_bytes) = weight(change);
                rows += change_rows;
                bytes += change_bytes;
            }
            changes.extend(effects.changes);
            requests.push(request);
            outcomes.push(Outcome {
                reply: effects.reply,
                orders: effects.orders,
                events: effects.events,
            });
            if rows >= ROWS_MAX || bytes >= BYTES_MAX || now.steady.since(began.steady) >= APPLY_MAX {
                break;
            }
        }
        Applied {
            requests,
            outcomes,
            changes: Arc::new(changes),
        }
    }

    /// The database will not have this batch: finds out which command it is, by halves.
    async fn reject(&mut self, mut requests: Vec<Request>, reason: &str) -> Result<(), Error> {
        if requests.len() > 1 {
            tracing::warn!(
                commands = requests.len(),
                reason,
                "a batch is rejected; applying its commands in halves"
            );
            self.suspects = requests.len();
            self.batch_limit = requests.len() / 2;
            requests
                .into_iter()
                .rev()
                .for_each(|request| self.pending.push_front(request));
        } else if let Some(request) = requests.pop() {
            self.suspects = 0;
            self.batch_limit = COMMANDS_MAX;
            tracing::error!(command = ?request.command, reason, "the database rejects what a command changes");
            if matches!(request.command, Command::Tick) {
                self.tick.not_before = Some(self.clock.now().steady + TICK_PAUSE);
            }
            request.fail(Refusal::Conflict("the database does not take what it would change".to_owned()).into());
        }
        self.restart().await
    }
}

/// About how many rows and bytes a change writes.
fn weight(change: &Change) -> (usize, usize) {
    match change {
        Change::InsertBuild { nodes, specs, .. } => (
            1 + 2 * nodes.len(),
            ROW_BYTES + specs.iter().map(spec_bytes).sum::<usize>(),
        ),
        Change::ExtendBuild {
            nodes, specs, parents, ..
        } => (
            2 * nodes.len() + parents.len(),
            ROW_BYTES * (1 + parents.len()) + specs.iter().map(spec_bytes).sum::<usize>(),
        ),
        Change::PutJob(status) => (1, ROW_BYTES * (1 + status.inputs.len()) + status.message.len()),
        _ => (1, ROW_BYTES),
    }
}

fn spec_bytes(spec: &JobSpec) -> usize {
    let command = spec.command.iter().flatten().map(String::len).sum::<usize>();
    let environment = spec
        .environment
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>();
    2 * ROW_BYTES + spec.image.len() + command + environment
}
