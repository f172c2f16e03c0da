//! The process that runs one attempt's command, so that it outlives the agent: `tombolo supervise <attempt folder>`.
//!
//! It is a process of its own with a session of its own and one thread. It runs the command in a process group of its
//! own, writes the log spool, enforces the timeout, takes stop requests over a socket in the folder, leaves no descendant
//! of the command behind, and at last writes `exit.json`. It holds a lock on a file for as long as it lives: no
//! `exit.json` and no lock means that it died.

mod capture;
mod client;
mod confinement;
mod descendants;
mod duty;
mod echo;
mod enter;
mod launch;
mod listeners;
mod memory;
mod packet;
mod post;
mod sessions;
mod storage;
mod surroundings;
mod tenure;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo_core::id::AttemptId;
use tombolo_core::time::Timestamp;
use tombolo_core::volume::VolumeSet;

use crate::folder::{AttemptFolder, Durability, read_record, write_record};
pub use crate::generated::Looked;
use crate::link::Granted;
use crate::mask::Masker;
use crate::secrets::Values;
use crate::spool;

pub(crate) use self::capture::SYSTEM_PREFIX;
pub(crate) use self::client::Socket;
pub use self::enter::{WORD as ENTER, enter};
pub(crate) use self::packet::{Word, connect_in, receive, send};
pub(crate) use self::post::{Container, Post};
pub(crate) use self::sessions::set_size;
use self::sessions::{Access, Sessions};
use self::surroundings::Surroundings;

/// What is to be run: `command.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Specification {
    /// Which attempt, for messages.
    pub attempt: AttemptId,
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// The system's variables. The supervisor adds those that name the paths of the sandbox.
    pub environment: BTreeMap<String, String>,
    /// The job's own variables; they outrank all others.
    pub job_environment: BTreeMap<String, String>,
    /// How the sandbox gets its well-known paths. In a pod, its mounts see to that.
    pub paths: SandboxPaths,
    /// How long the command may run.
    pub timeout: Duration,
    /// How long the command may go on after it was asked to stop.
    pub stop_grace: Duration,
    /// How many bytes the log may take on the disk.
    pub log_limit_bytes: u64,
    /// How many bytes the sandbox may have; none if nobody counts.
    #[serde(default)]
    pub storage_limit_bytes: Option<u64>,
    /// How many bytes the output may have; as many as any may if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit_bytes: Option<u64>,
    /// The volumes in the sandbox, which do not count.
    #[serde(default)]
    pub volumes: VolumeSet,
    /// The variables whose values are secrets. These come another way, never in a file: through the standard input, or from the courier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// The command ends with the cluster's lease.
    #[serde(default)]
    pub exclusive: bool,
    /// The lease at the start of such a command, by this machine's clock. Later ones are said at the socket.
    #[serde(default)]
    pub lease: Option<Granted>,
    /// Where the job file that it leaves is looked for.
    #[serde(default, skip_serializing_if = "Looked::is_usual")]
    pub generated: Looked,
}

/// How the command finds its sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SandboxPaths {
    /// As `/tombolo` and `/infrabox`, in a mount namespace of its own; by variables where the system does not permit that.
    #[default]
    Absolute,
    /// By variables only (`TOMBOLO_ROOT` and the like).
    Variables,
}

/// What runs: `started.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The supervisor's process.
    pub supervisor: u32,
    /// The command's process, which leads its group.
    pub command: u32,
    /// When the command started.
    pub started_at: Timestamp,
}

/// How it ended: `exit.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// In which way.
    pub ending: Ending,
    /// When the command started; none if it never did.
    pub started_at: Option<Timestamp>,
    /// When the last of its processes was gone.
    pub ended_at: Timestamp,
    /// How many lines the spool has.
    pub log_lines: u64,
    /// What the command used.
    pub usage: Usage,
}

/// The ways in which a command ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// By itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// By a signal that was not the supervisor's.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It ran for longer than it may.
    TimedOut,
    /// Somebody asked for it.
    Stopped,
    /// The system asked the supervisor itself to end, by SIGTERM: its pod was deleted, or its node is drained.
    Terminated,
    /// The cluster's lease was about to end.
    LeaseEnded,
    /// It failed after the kernel had killed one of its processes for want of memory.
    OutOfMemory {
        /// What all of them together may use.
        limit_bytes: Option<u64>,
        /// The command's exit code; none if it was killed itself.
        code: Option<i32>,
    },
    /// Its files came too near to what it may write, and it was ended while its output could still be kept.
    StorageFull {
        /// What they took.
        bytes: u64,
        /// What they may take.
        limit_bytes: u64,
    },
    /// There is no such program, or it cannot be run: the job's fault.
    NotStarted {
        /// What and why.
        reason: String,
    },
    /// The system failed it.
    Fault {
        /// What and why.
        reason: String,
    },
}

/// What a command and its descendants used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The largest resident memory of any one process, in bytes.
    pub peak_resident_bytes: u64,
    /// Processor time in user mode, of all of them.
    pub user_time: Duration,
    /// Processor time in the kernel, of all of them.
    pub system_time: Duration,
}

/// What a client of the socket may say, one line each.
pub mod request {
    use std::time::Duration;

    use crate::link::Granted;

    /// Ask the command to stop, and kill it after the grace.
    pub const STOP: &[u8] = b"stop\n";
    /// Kill it at once.
    pub const KILL: &[u8] = b"kill\n";
    /// Start it, to a supervisor of a pod, which waits for that.
    pub const BEGIN: &[u8] = b"begin\n";
    /// How the line begins that tells of a lease.
    pub const LEASE: &str = "lease ";

    /// Let a command that ends with its cluster's lease go on until the end of this one.
    pub fn lease(lease: &Granted) -> Vec<u8> {
        let (until, length) = (lease.until.as_millis(), lease.length.as_millis());
        format!("{LEASE}{until} {length}\n").into_bytes()
    }

    /// The lease that such a line tells of.
    pub fn read_lease(line: &[u8]) -> Option<Granted> {
        let words = std::str::from_utf8(line)
            .ok()?
            .strip_prefix(LEASE)?
            .strip_suffix('\n')?;
        let (until, length) = words.split_once(' ')?;
        Some(Granted {
            until: Duration::from_millis(until.parse().ok()?),
            length: Duration::from_millis(length.parse().ok()?),
        })
    }
}

/// What the supervisor prints on its standard output as soon as the command runs (or could not be started).
pub const READY: &[u8] = b"ready\n";

/// Why a supervisor could not do its work. Whatever it had started is gone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another supervisor has this attempt, or had it: a command runs at most once.
    #[error("the attempt in {} was supervised already", .0.display())]
    Taken(PathBuf),
    /// There is nothing to run.
    #[error("{} is missing", .0.display())]
    NoSpecification(PathBuf),
    /// The system does not play along.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }
}

/// Supervises the attempt in `folder` to its end. To be called by a process that has one thread and nothing else to do.
///
/// # Errors
/// See [`Error`]. A command that fails is not an error.
pub fn run(folder: &Path) -> Result<(), Error> {
    let folder = std::path::absolute(folder).map_err(Error::system("cannot find the attempt's folder"))?;
    let folder = AttemptFolder::new(folder);
    let _lock = take_charge(&folder)?;
    let specification: Specification = read_record(&folder.specification())
        .map_err(Error::system("cannot read what to run"))?
        .ok_or_else(|| Error::NoSpecification(folder.specification()))?;
    let secrets = hear_secrets(&specification).map_err(Error::system("cannot hear the secrets"))?;
    let spool = spool::Writer::open(&folder.log()).map_err(Error::system("cannot open the log"))?;
    let mut listeners = listeners::Listeners::bind(&folder).map_err(Error::system("cannot listen"))?;
    let masker = Masker::new(&secrets);
    let mut log = capture::Capture::new(spool, specification.log_limit_bytes).masking(&masker);
    let sessions = Sessions::open(&folder, Access::Own, &mut log);
    let surroundings = Surroundings::bare(confinement::enter(&folder, specification.paths, &mut log));

    let exit = duty::serve(
        &folder,
        (&specification, &secrets),
        &surroundings,
        &mut listeners,
        sessions,
        log,
        announce,
    )?;
    write_record(&folder.exit(), &exit, Durability::Fast).map_err(Error::system("cannot write the exit"))?;
    // Those who wait are told when the exit is there.
    drop(listeners);
    Ok(())
}

/// The values of secrets, from whoever started this process.
fn hear_secrets(specification: &Specification) -> io::Result<Values> {
    if specification.secrets.is_empty() {
        return Ok(Values::default());
    }
    let values = Values::read(io::stdin().lock())?;
    match values.are_of(&specification.secrets) {
        true => Ok(values),
        false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "some are missing")),
    }
}

/// Makes this process the one that orphans of the command fall to, and the only supervisor of the attempt while the lock lives.
fn take_charge(folder: &AttemptFolder) -> Result<File, Error> {
    // Fails for a process that leads its group already, which then has what it needs.
    let _ = rustix::process::setsid();
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).map_err(Error::system("cannot adopt orphans"))?;
    lock(folder)
}

fn lock(folder: &AttemptFolder) -> Result<File, Error> {
    let lock = File::create(folder.lock()).map_err(Error::system("cannot make the lock"))?;
    let taken = || Error::Taken(folder.path().to_owned());
    spool::lock(&lock).map_err(|_| taken())?;
    if folder.started().exists() || folder.exit().exists() {
        return Err(taken());
    }
    Ok(lock)
}

/// Tells whoever started this process; that one may be gone already.
fn announce() {
    let mut output = io::stdout();
    let _ = output.write_all(READY).and_then(|()| output.flush());
}

/// Where an attempt's supervisor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It lives.
    Alive,
    /// There is none: it has ended, has died, or was never started.
    Absent,
}

/// Looks whether the supervisor of the attempt in `folder` lives.
///
/// # Errors
/// Those of opening the lock's file.
pub fn presence(folder: &AttemptFolder) -> io::Result<Presence> {
    let lock = match File::open(folder.lock()) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Presence::Absent),
        Err(error) => return Err(error),
    };
    // Shared, so that two who look at the same time do not see each other.
    match lock.try_lock_shared() {
        Ok(()) => Ok(Presence::Absent),
        Err(std::fs::TryLockError::WouldBlock) => Ok(Presence::Alive),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Kills what a dead supervisor has left of the attempt: every process whose environment carries its name. Returns how
/// many there were.
///
/// # Errors
/// If the system's processes cannot be listed.
pub fn kill_remains(attempt: AttemptId) -> io::Result<usize> {
    descendants::kill_by_variable(ATTEMPT_VARIABLE, &attempt.to_string())
}

/// The variable by which every process of an attempt can be recognised.
pub const ATTEMPT_VARIABLE: &str = "TOMBOLO_ATTEMPT";
