//! The port to whatever runs commands.

pub(crate) mod cache;
mod contract;
pub mod kubernetes;
pub mod process;

use std::future::Future;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tombolo_artifact::{Links, PackLimits, Selection, UnpackOptions};
use tombolo_core::attempt::{Assignment, GeneratedFile, OutputReference};
use tombolo_core::digest::Digest;
use tombolo_core::id::AttemptId;
use tombolo_core::pattern::InvalidPattern;
use tombolo_core::session::Capability;
use tombolo_core::time::Timestamp;
use tombolo_core::volume::VolumeId;

use crate::couriers::Losses;
use crate::exec;
use crate::folder::AttemptFolder;
use crate::link::Lease;
use crate::secrets::Values;
use crate::supervisor::Exit;
use crate::xunit;

/// Runs the commands of attempts. All of it may be repeated after a crash of the agent: what was done is found again.
pub trait Executor: Send + Sync + 'static {
    /// A command that was started.
    type Running: Running;

    /// What it can do.
    fn capabilities(&self) -> Vec<Capability>;

    /// Whether the command was started and nobody will ever know how it ended. What is left of such a command is ended. Asked
    /// once, when the agent starts.
    ///
    /// # Errors
    /// Those of the folder.
    fn is_lost(&self, folder: &AttemptFolder, attempt: AttemptId) -> io::Result<bool>;

    /// Makes a fresh sandbox with everything but source and inputs; what an earlier try left of it is removed. Returns what
    /// the job's log should say before the command starts.
    ///
    /// # Errors
    /// [`Error::Refused`] for a job that cannot run here; [`Error::System`].
    fn prepare(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
    ) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Makes a volume that the attempt works with, if it is not there yet. Called before [`Self::prepare`].
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::System`].
    fn make_volume(&self, volume: VolumeId, assignment: &Assignment) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes a volume that nobody uses, with all that is in it; returns when it is gone. It is no error if there is none.
    ///
    /// # Errors
    /// [`Error::System`]; it may be tried again.
    fn remove_volume(&self, volume: VolumeId) -> impl Future<Output = Result<(), Error>> + Send;

    /// All volumes of this cluster that there are.
    ///
    /// # Errors
    /// [`Error::System`].
    fn find_volumes(&self) -> impl Future<Output = Result<Vec<VolumeId>, Error>> + Send;

    /// Why the sandbox has no place for the cache that the job could start from, if it has none.
    fn obstacle_to_cache(&self, _: &Assignment) -> Option<String> {
        None
    }

    /// Fills the sandbox with source, inputs and cache, which are in the cluster's own store by now; or sees to it that this happens
    /// before the command starts. Returns what the job's log should say of what is optional and could not be unpacked.
    ///
    /// # Errors
    /// [`Error::Material`]; [`Error::System`].
    fn stage(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
        materials: &[Material],
    ) -> impl Future<Output = Result<Vec<String>, Error>> + Send;

    /// Sees to it that the command starts, at most once for each attempt: one that was started is found. `secrets` are of use only if it
    /// was not started yet. A command that ends with its cluster's lease has one: as long as what is returned here is waited for, the command goes on for as long
    /// as `lease` lasts.
    ///
    /// # Errors
    /// [`Error::Lost`] if it was started and whatever watched it is gone; [`Error::Refused`]; [`Error::System`].
    fn start(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
        secrets: &Values,
        lease: Option<Lease>,
    ) -> impl Future<Output = Result<Self::Running, Error>> + Send;

    /// Starts another command beside that of an attempt that runs: with its variables, in its working directory, as its user, and
    /// for no longer than it. May be called while nobody else has a value for the attempt.
    ///
    /// # Errors
    /// [`exec::Failure`] if it is known at once that there is no way; else the session tells.
    fn enter(
        &self,
        folder: &AttemptFolder,
        attempt: AttemptId,
        request: exec::Request,
    ) -> impl Future<Output = Result<exec::Session, exec::Failure>> + Send;

    /// Ends whatever still runs of the attempt, and removes what of it lies outside of its folder. It is no error if there is
    /// nothing.
    ///
    /// # Errors
    /// [`Error::System`]; it may be tried again.
    fn clear(&self, folder: &AttemptFolder, attempt: AttemptId) -> impl Future<Output = Result<(), Error>> + Send;
}

/// An artifact that belongs into a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// Within the sandbox: `context`, `cache`, or `inputs/<name>`.
    pub folder: String,
    /// Which artifact.
    pub manifest: Digest,
    /// The command starts without it as well.
    #[serde(default)]
    pub optional: bool,
    /// Patterns of what is unpacked of it; everything if there are none.
    #[serde(default)]
    pub paths: Vec<String>,
}

/// The most that the job's output may have, in bytes, if it says so.
pub(crate) fn output_limit(assignment: &Assignment) -> Option<u64> {
    assignment.job.extensions.as_ref()?.output_limit_bytes
}

/// Whether the command ends with the cluster's lease.
pub(crate) fn is_exclusive(assignment: &Assignment) -> bool {
    let says = assignment.job.extensions.as_ref();
    says.is_some_and(|says| says.exclusive)
}

/// What an output may be at most.
pub(crate) fn sandbox_limits(bytes: Option<u64>) -> PackLimits {
    let limits = PackLimits::default();
    PackLimits {
        bytes: bytes.map_or(limits.bytes, |bytes| bytes.min(limits.bytes)),
        ..limits
    }
}

/// The folder of the build's source in a sandbox.
pub(crate) const SOURCE: &str = "context";

impl Material {
    /// How it is unpacked into this folder. What jobs left behind is restored as it was, with links that lead out of it, as every
    /// virtual environment of Python has them; a source with such links is not taken in the first place.
    pub(crate) fn options(folder: &str, paths: &[String]) -> Result<UnpackOptions, InvalidPattern> {
        Ok(UnpackOptions {
            select: Selection::of(paths)?,
            links: match folder {
                SOURCE => Links::Confined,
                _ => Links::Verbatim,
            },
            ..UnpackOptions::default()
        })
    }

    /// Makes the folder that the one of this material lies in: those of an array's indexes lie in one of their own.
    pub(crate) fn make_place(into: &Path) -> io::Result<()> {
        into.parent().map_or(Ok(()), fs::create_dir_all)
    }

    /// What the job's log says if it is optional and cannot be unpacked.
    pub(crate) fn missed(folder: &str, reason: &str) -> String {
        format!("the {folder} cannot be unpacked, and is empty at the start: {reason}")
    }
}

/// What a command has left behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// The output, stored whole; none if there is nothing in it. The error says why it cannot be stored.
    pub output: Result<Option<OutputReference>, String>,
    /// The cache, stored whole; none if none is to be kept. The error says why it cannot be stored, which is no reason to fail.
    #[serde(default = "no_cache")]
    pub cache: Result<Option<OutputReference>, String>,
    /// What its tests say.
    pub tests: xunit::Results,
    /// The job file in the output folder, if there is one.
    #[serde(default)]
    pub generated: Option<GeneratedFile>,
}

/// Of what an earlier version has recorded.
const fn no_cache() -> Result<Option<OutputReference>, String> {
    Ok(None)
}

/// A command that is starting, runs, or has ended.
pub trait Running: Send {
    /// Why it does not go on, in words for people; empty while nothing holds it up. None if that is never known.
    fn reason(&self) -> Option<watch::Receiver<String>> {
        None
    }

    /// Which inputs turn out not to be whole in the cluster's store while the sandbox is filled. None if that is known before
    /// ([`Error::Material`]).
    fn losses(&self) -> Option<Losses> {
        None
    }

    /// Waits until the command runs, and tells when it started; none if it turned out that it cannot. It starts only while
    /// `lease` lasts. `on_output` is called whenever its log has grown meanwhile. Cancelling this loses nothing.
    ///
    /// # Errors
    /// [`Error::Failed`] or [`Error::Job`] if the command will never run; [`Error::Stopped`] after [`Self::stop`];
    /// [`Error::Lost`]; [`Error::System`].
    fn begun(
        &mut self,
        lease: &mut Lease,
        on_output: impl Fn() + Send + Sync,
    ) -> impl Future<Output = Result<Option<Timestamp>, Error>> + Send;

    /// Waits for its end. `on_output` is called whenever its log has grown. Cancelling it loses nothing.
    ///
    /// # Errors
    /// [`Error::Lost`] if nobody knows how it ended; [`Error::System`].
    fn ended(&mut self, on_output: impl Fn() + Send + Sync) -> impl Future<Output = Result<Exit, Error>> + Send;

    /// Asks for its end, which [`Self::ended`] then brings. A command that does not run yet will not start.
    ///
    /// # Errors
    /// [`Error::System`]; none if it has ended.
    fn stop(&mut self, urgency: Urgency) -> impl Future<Output = Result<(), Error>> + Send;

    /// Stores what the command has left behind; to be called after its end. May be repeated.
    ///
    /// # Errors
    /// [`Error::Lost`] if nobody can tell any more; [`Error::System`].
    fn collect(&mut self) -> impl Future<Output = Result<Collected, Error>> + Send;
}

/// How a command is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It may clean up.
    Graceful,
    /// At once.
    Immediate,
}

/// Why the system failed an attempt.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job cannot run on this cluster.
    #[error("{0}")]
    Refused(String),
    /// The command will not run, or was ended by something that was not its fault nor asked for.
    #[error("{0}")]
    Failed(String),
    /// The job itself is at fault: it names an image that does not exist, or uses more than it may.
    #[error("{0}")]
    Job(String),
    /// Somebody asked for its end before the command had started, or it cannot be reached any more to be stopped.
    #[error("it was stopped")]
    Stopped,
    /// The source or an input cannot be put into the sandbox.
    #[error("{folder}: {reason}")]
    Material {
        /// Where it belongs.
        folder: String,
        /// Why not.
        reason: String,
        /// The cluster's store does not have it whole any more. Others may.
        is_lost: bool,
    },
    /// The command was started, and nobody knows what became of it.
    #[error("the supervisor of the command died{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Lost {
        /// The last thing that it said, if anything.
        said: Option<String>,
    },
    /// The system does not play along.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn system<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }
}
