//! Sessions of users with running jobs (`tombolo exec`): a WebSocket on the user's side, a call in a tunnel of its own on the agent's, and
//! here only what passes between the two, counted. See `docs/adr/0008-exec-sessions.md`.

mod convert;
mod meter;
mod relay;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tombolo_api::problem::Code;
use tombolo_core::id::{AttemptId, BuildId};
use tombolo_core::name::{ClusterName, JobName, ProjectName};
use tombolo_transfer::peer::Links;

use crate::driver::Handle;
use crate::rest::Error;
use crate::tasks::Tasks;

pub(crate) use relay::{Caller, Session, Subject};

/// How many sessions there are at once, in all: each has a tunnel, of which the master may dial 96.
const SESSIONS: usize = 64;

/// What sessions are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a session may be open without a byte in either direction.
    pub idle: Duration,
    /// How many sessions the jobs of one build may have at once.
    pub sessions_per_build: usize,
}

impl Default for Settings {
    /// An hour: somebody has forgotten it. 8: some people, each with a few shells.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60 * 60),
            sessions_per_build: 8,
        }
    }
}

/// All sessions. Clones share them.
#[derive(Clone)]
pub struct Exec {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    links: Links,
    handle: Handle,
    tasks: Tasks,
    open: Mutex<HashMap<BuildId, usize>>,
    started: AtomicU64,
}

/// What a session is for.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) project: ProjectName,
    pub(crate) number: u64,
    pub(crate) job: JobName,
    pub(crate) attempt: AttemptId,
    pub(crate) cluster: ClusterName,
}

/// A session's part of the count, given back when dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    build: BuildId,
}

impl Exec {
    /// Reaches agents by `links`; sessions are tasks of `tasks`.
    pub fn new(settings: Settings, links: Links, handle: Handle, tasks: Tasks) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                links,
                handle,
                tasks,
                open: Mutex::default(),
                started: AtomicU64::new(0),
            }),
        }
    }

    /// How many sessions are open.
    pub fn open(&self) -> usize {
        self.shared.open().values().sum()
    }

    /// How many sessions there were since the start.
    pub fn started(&self) -> u64 {
        self.shared.started.load(Ordering::Relaxed)
    }

    /// The right to one more session with a job of this build.
    pub(crate) fn admit(&self, build: BuildId) -> Result<Place, Error> {
        let limit = self.shared.settings.sessions_per_build;
        let mut open = self.shared.open();
        let refused = |what: fmt::Arguments<'_>| {
            Err(Error::new(Code::LimitReached, what)
                .with_hint("end another session with `exit`, or wait until one ends"))
        };
        if open.values().sum::<usize>() >= SESSIONS {
            return refused(format_args!(
                "{SESSIONS} sessions with jobs are open, as many as this master takes"
            ));
        }
        let of_build = open.entry(build).or_default();
        if *of_build >= limit {
            return refused(format_args!(
                "{limit} sessions with jobs of this build are open, as many as there may be"
            ));
        }
        *of_build += 1;
        drop(open);
        let shared = Arc::clone(&self.shared);
        Ok(Place { shared, build })
    }

    /// Runs a session to its end.
    pub(crate) fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        let spawned = self.shared.tasks.spawn("exec", session);
        spawned.map_err(|error| Error::new(Code::Overloaded, error))
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<BuildId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        if let Some(count) = open.get_mut(&self.build) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.build);
            }
        }
    }
}
