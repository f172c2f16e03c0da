//! Taking what has come, and knowing when time itself is a command.

use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::control::{Command, Event, EventKind};
use tombolo_core::name::ClusterName;
use tombolo_core::time::Moment;
use tombolo_store::Store;

use super::Driver;
use super::batch;
use super::message::{Message, Origin, Request};

/// The longest sleep. The runtime's timer stands still during suspend, leases do not.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// In how many turns a tick that is due gives way to commands that wait. After the driver was held up, the heartbeats that came
/// meanwhile are to be heard before the leases are found to have ended.
const TICK_DELAYS_MAX: u32 = 8;

/// When the control plane is told that time has passed.
#[derive(Debug, Default)]
pub(super) struct Tick {
    /// It waits for its turn.
    pub(super) pending: bool,
    /// Not before: the last one was rejected.
    pub(super) not_before: Option<Moment>,
    /// In how many turns it was due and gave way.
    delayed: u32,
}

impl<S: Store> Driver<S> {
    /// Waits until there is something to do, and takes all that there is. False at the end.
    pub(super) async fn collect(&mut self) -> bool {
        if self.pending.is_empty() {
            let sleep = self.until_tick();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                message = self.receiver.recv() => match message {
                    Some(message) => self.take(message),
                    None => return false,
                },
                heartbeat = self.heartbeats.next() => self.pending.push_back(heartbeat),
                () = tokio::time::sleep(sleep) => {}
            }
        } else if self.stop.is_cancelled() {
            return false;
        }
        self.hear();
        let mut drained = false;
        while !drained && self.pending.len() < batch::COMMANDS_MAX {
            match self.receiver.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => drained = true,
            }
        }
        self.tick(drained);
        true
    }

    /// Takes the heartbeats that have come: all of them, and before everything else, a tick that waits for its turn above all. Who was heard of in time is not to
    /// be found silent because the driver was held up.
    fn hear(&mut self) {
        while let Some(heartbeat) = self.heartbeats.waiting() {
            // While one is sought that the database rejects, those at the front are counted.
            match self.suspects {
                0 => self.pending.push_front(heartbeat),
                _ => self.pending.push_back(heartbeat),
            }
        }
    }

    fn until_tick(&self) -> Duration {
        let now = self.clock.now().steady;
        let due = self.tick_due_at();
        due.map_or(SLEEP_MAX, |due| due.since(now)).min(SLEEP_MAX)
    }

    fn tick_due_at(&self) -> Option<Moment> {
        let due = self.control.next_deadline()?;
        Some(self.tick.not_before.map_or(due, |pause| due.max(pause)))
    }

    fn tick(&mut self, drained: bool) {
        let now = self.clock.now().steady;
        if self.tick.pending || self.tick_due_at().is_none_or(|due| due > now) {
            return;
        }
        if !drained && self.tick.delayed < TICK_DELAYS_MAX {
            self.tick.delayed += 1;
            return;
        }
        self.tick.delayed = 0;
        self.tick.pending = true;
        self.pending.push_back(Request::internal(Command::Tick));
    }

    /// Commands wait for their batch. The rest is done at once: what is in memory now is what is stored.
    fn take(&mut self, message: Message) {
        let request = match message {
            Message::Apply { command, reply } => Request {
                command,
                origin: Origin::Caller(reply),
            },
            Message::Connect {
                cluster,
                session,
                hello,
                reply,
            } => Request {
                command: Command::Connect {
                    cluster,
                    session,
                    hello,
                },
                origin: Origin::Agent(reply),
            },
            Message::Query(question) => return question(&self.control),
            Message::Subscribe { build, reply } => {
                // Whoever does not wait any more does not want to know.
                let _ = reply.send(self.watchers.subscribe(build));
                return;
            }
            Message::Progress { cluster, progress } => return self.progress(&cluster, progress),
        };
        self.pending.push_back(request);
    }

    fn progress(&mut self, cluster: &ClusterName, mut progress: TransferProgress) {
        let found = match progress.recipient {
            Recipient::Children(parent) => {
                let found = self.control.child_in_wait(parent, cluster);
                found.map(|(attempt, name, project, build)| {
                    progress.parent = Some(name);
                    (attempt, project, build)
                })
            }
            Recipient::Attempt(id) => {
                let attempt = self.control.current_attempt(id);
                if attempt.as_ref().is_some_and(|attempt| attempt.cluster != cluster) {
                    tracing::warn!(%cluster, attempt = %id, "a cluster reports on an attempt that is not its own");
                    return;
                }
                attempt.map(|attempt| (id, attempt.project, attempt.build))
            }
        };
        let Some((attempt, project, build)) = found else {
            return;
        };
        let transfers = &self.shared.transfers;
        if transfers.are_many() {
            transfers.retain(|attempt| self.control.current_attempt(attempt).is_some());
        }
        transfers.note(attempt, cluster, &progress);
        self.watchers.publish(Event {
            at: self.clock.now().wall,
            project,
            build,
            kind: EventKind::Progress { attempt, progress },
        });
    }
}
