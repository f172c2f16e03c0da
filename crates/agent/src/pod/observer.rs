//! What the courier sees of the supervisor, and says to it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tombolo_core::time::Timestamp;

use super::Places;
use crate::executor::Urgency;
use crate::folder::{AttemptFolder, read_record};
use crate::link::Granted;
use crate::supervisor::{self, Presence, Socket, Started, request};

/// How often the folder is looked at without a hint.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often to look before the supervisor listens.
const KNOCK_AGAIN: Duration = Duration::from_millis(20);
/// How long a supervisor may seem to be gone until it is: it takes its lock a moment after it has made the file.
const GONE_AFTER: Duration = Duration::from_secs(2);
/// The largest record that is read: whoever runs in the pod could have written it.
const RECORD_LIMIT: u64 = 1024 * 1024;

/// How far the attempt is, as its folder says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The sandbox is complete.
    pub(super) staged: bool,
    pub(super) started_at: Option<Timestamp>,
    /// The record as it was written.
    pub(super) exit: Option<Bytes>,
    /// The size of the log.
    pub(super) log_bytes: u64,
    pub(super) over: Option<Over>,
}

/// How the supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It has done all it had to.
    Finished,
    /// It is gone before that.
    Died,
}

/// What the agent wants of the command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) begin: bool,
    /// The command ends with the cluster's lease.
    pub(super) exclusive: bool,
    /// That lease, as far as it is known.
    pub(super) lease: Option<Granted>,
    pub(super) stop: Option<Urgency>,
}

impl Wish {
    /// What the supervisor is to hear.
    fn words(self) -> Vec<u8> {
        let mut words = self.lease.as_ref().map(request::lease).unwrap_or_default();
        words.extend(self.word().unwrap_or_default());
        words
    }

    /// A command that is to stop need not begin.
    const fn word(self) -> Option<&'static [u8]> {
        match self {
            Self {
                stop: Some(Urgency::Immediate),
                ..
            } => Some(request::KILL),
            Self {
                stop: Some(Urgency::Graceful),
                ..
            } => Some(request::STOP),
            // Without its lease such a command would end at once.
            Self {
                exclusive: true,
                lease: None,
                ..
            } => None,
            Self { begin: true, .. } => Some(request::BEGIN),
            Self { begin: false, .. } => None,
        }
    }
}

/// Watches the attempt's folder, and hands wishes to the supervisor as soon as it listens.
pub(super) struct Observer {
    places: Places,
    folder: AttemptFolder,
    socket: Option<Socket>,
    seen: watch::Sender<Seen>,
    wish: watch::Receiver<Wish>,
    absent_since: Option<Instant>,
}

impl Observer {
    pub(super) fn new(places: &Places, wish: watch::Receiver<Wish>) -> Self {
        Self {
            places: places.clone(),
            folder: places.attempt(),
            socket: None,
            seen: watch::channel(Seen::default()).0,
            wish,
            absent_since: None,
        }
    }

    pub(super) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Until the supervisor has ended. Dropping the future ends it too.
    pub(super) async fn run(mut self) {
        loop {
            self.look();
            if self.seen.borrow().over.is_some() {
                return;
            }
            if self.socket.is_none() {
                self.socket = Socket::connect(&self.folder).ok();
                if self.socket.is_some() {
                    self.say().await;
                    continue;
                }
            }
            let Some(socket) = &mut self.socket else {
                sleep(KNOCK_AGAIN).await;
                continue;
            };
            tokio::select! {
                grown = socket.grown() => if !grown {
                    self.socket = None;
                },
                Ok(()) = self.wish.changed() => self.say().await,
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Says what is wished. A supervisor that does not hear it is gone, or hears it from the next connection.
    async fn say(&mut self) {
        let words = self.wish.borrow_and_update().words();
        if let Some(socket) = self.socket.as_mut().filter(|_| !words.is_empty())
            && socket.say(&words).await.is_err()
        {
            self.socket = None;
        }
    }

    fn look(&mut self) {
        // In this order: who is gone after the files were looked for may have left them in between.
        let absent = self.is_absent();
        let before = self.seen.borrow().clone();
        let mut now = Seen {
            staged: before.staged || self.places.staged().exists(),
            started_at: before.started_at.or_else(|| self.started_at()),
            exit: before.exit.or_else(|| record(&self.folder.exit())),
            log_bytes: fs::metadata(self.folder.log()).map_or(0, |log| log.len()),
            over: None,
        };
        if self.places.finished().exists() {
            now.over = Some(Over::Finished);
        } else if absent {
            now.over = Some(Over::Died);
        }
        self.seen.send_if_modified(|seen| {
            let modified = *seen != now;
            *seen = now;
            modified
        });
    }

    fn started_at(&self) -> Option<Timestamp> {
        record(&self.folder.started())?;
        let started: Option<Started> = read_record(&self.folder.started()).unwrap_or_default();
        started.map(|started| started.started_at)
    }

    /// Whether there was a supervisor and is none any more.
    fn is_absent(&mut self) -> bool {
        let there = self.folder.lock().exists();
        let absent = there && matches!(supervisor::presence(&self.folder), Ok(Presence::Absent));
        if !absent {
            self.absent_since = None;
            return false;
        }
        self.absent_since.get_or_insert_with(Instant::now).elapsed() >= GONE_AFTER
    }
}

/// A record's text, if it is there and is one that a supervisor could have written.
fn record(path: &Path) -> Option<Bytes> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > RECORD_LIMIT {
        return None;
    }
    let text = fs::read(path)
        .map_err(|error: io::Error| tracing::warn!(path = %path.display(), %error, "cannot read a record"));
    text.ok().map(Bytes::from)
}
