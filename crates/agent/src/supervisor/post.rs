//! The supervisor of a pod: it is there before there is anything to run, and stays when the command has ended.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use tombolo_runtime::clock;

use super::capture::Capture;
use super::confinement::Paths;
use super::duty::{self, wall};
use super::echo::Echo;
use super::listeners::{Listeners, Request};
use super::sessions::{Access, Sessions};
use super::surroundings::Surroundings;
use super::{Ending, Error, Exit, Specification, Usage, take_charge};
use crate::folder::{AttemptFolder, Durability, write_record};
use crate::mask::Masker;
use crate::secrets::Values;
use crate::spool;

/// How long to wait for the word to begin: nobody keeps a pod for longer without wanting what it does.
const BEGIN_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a container has what the command is to find.
pub(crate) struct Container {
    /// The sandbox, under the first of its names.
    pub(crate) tombolo: PathBuf,
    /// The same under the other name.
    pub(crate) infrabox: PathBuf,
    /// The container's own control groups.
    pub(crate) control_groups: PathBuf,
}

/// The right to supervise an attempt, with the socket at which others ask.
pub(crate) struct Post {
    folder: AttemptFolder,
    _lock: File,
    listeners: Listeners,
    /// The strongest request so far.
    heard: Option<Request>,
}

impl Post {
    /// Takes the attempt in `folder`, at most once. From now on SIGTERM ends the attempt, not this process.
    pub(crate) fn take(folder: AttemptFolder) -> Result<Self, Error> {
        let lock = take_charge(&folder)?;
        let signals = signals().map_err(Error::system("cannot listen to signals"))?;
        let listeners = Listeners::bind(&folder).and_then(|listeners| listeners.heed(signals));
        let listeners = listeners.map_err(Error::system("cannot listen"))?;
        // The courier is another user.
        fs::set_permissions(folder.path().join("socket"), Permissions::from_mode(0o666))
            .map_err(Error::system("cannot let the courier in"))?;
        Ok(Self {
            folder,
            _lock: lock,
            listeners,
            heard: None,
        })
    }

    /// Waits until `work` can be read. If somebody wants the end of the attempt before, how it then ends.
    pub(crate) fn until_ready(&mut self, work: BorrowedFd<'_>) -> Result<Option<Ending>, Error> {
        loop {
            if let Some(ending) = self.asked() {
                return Ok(Some(ending));
            }
            if self.wait(Some(work), None)? {
                return Ok(None);
            }
        }
    }

    /// Waits for the word to begin; also one that has come already. If somebody wants the end of the attempt instead, how it then
    /// ends.
    pub(crate) fn until_begun(&mut self) -> Result<Option<Ending>, Error> {
        let deadline = clock::now().steady.saturating_add(BEGIN_DEADLINE);
        loop {
            if let Some(ending) = self.asked() {
                return Ok(Some(ending));
            }
            if self.heard == Some(Request::Begin) {
                return Ok(None);
            }
            let left = deadline.saturating_sub(clock::now().steady);
            if left.is_zero() {
                let reason = "nobody said within a day that the command may start".to_owned();
                return Ok(Some(Ending::Fault { reason }));
            }
            self.wait(None, Some(left))?;
        }
    }

    /// Runs the command to its end; the log begins with `notes`.
    pub(crate) fn run(
        &mut self,
        specification: &Specification,
        secrets: &Values,
        container: &Container,
        notes: &[String],
    ) -> Result<Exit, Error> {
        let paths = Paths {
            tombolo: container.tombolo.clone(),
            infrabox: container.infrabox.clone(),
        };
        let surroundings = Surroundings::container(paths, std::env::vars_os(), &container.control_groups);
        let mut log = self.log(specification.log_limit_bytes)?.masking(&Masker::new(secrets));
        for note in notes {
            log.note(wall(), note).map_err(Error::system("cannot write the log"))?;
        }
        let sessions = Sessions::open(&self.folder, Access::All, &mut log);
        let exit = duty::serve(
            &self.folder,
            (specification, secrets),
            &surroundings,
            &mut self.listeners,
            sessions,
            log,
            || {},
        )?;
        self.record(exit)
    }

    /// Records that the command was never started.
    pub(crate) fn leave(&mut self, ending: Ending) -> Result<Exit, Error> {
        let log = self.log(u64::MAX)?;
        let ended_at = wall();
        let exit = Exit {
            ending,
            started_at: None,
            ended_at,
            log_lines: log.finish(ended_at).map_err(Error::system("cannot write the log"))?,
            usage: Usage::default(),
        };
        self.record(exit)
    }

    /// Tells those who listen that there is something new in the folder.
    pub(crate) fn tell(&mut self) {
        // Who has come meanwhile hears it too.
        self.hear();
        self.listeners.spool_has_grown();
    }

    fn record(&mut self, exit: Exit) -> Result<Exit, Error> {
        write_record(&self.folder.exit(), &exit, Durability::Fast).map_err(Error::system("cannot write the exit"))?;
        self.tell();
        Ok(exit)
    }

    fn log(&self, limit_bytes: u64) -> Result<Capture, Error> {
        let spool = spool::Writer::open(&self.folder.log()).map_err(Error::system("cannot open the log"))?;
        Ok(Capture::new(spool, limit_bytes).echoing(Echo::on_stdout()))
    }

    fn hear(&mut self) {
        self.heard = self.heard.max(self.listeners.serve());
    }

    /// How the attempt ends, if somebody wants that before it has begun.
    fn asked(&mut self) -> Option<Ending> {
        self.hear();
        match self.heard? {
            Request::Begin => None,
            Request::Terminate => Some(Ending::Terminated),
            Request::Stop | Request::Kill => Some(Ending::Stopped),
        }
    }

    /// Until somebody asks for something, or `work` can be read, which it returns.
    fn wait(&self, work: Option<BorrowedFd<'_>>, timeout: Option<Duration>) -> Result<bool, Error> {
        let mut descriptors: Vec<PollFd<'_>> = work
            .into_iter()
            .chain(self.listeners.descriptors())
            .map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN))
            .collect();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) => Ok(work.is_some() && !descriptors[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(Error::system("cannot wait")(error)),
        }
    }
}

/// Where the signals arrive that ask a process to end.
fn signals() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    for signal in [SIGTERM, SIGINT] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(reader)
}
