//! The supervisor of a pod: the first process of the user's container. It fills the sandbox, runs the command when it is told to, and
//! hands over what the command leaves behind.

mod publish;
mod stage;
mod step;

use std::process::Command;
use std::time::Duration;

use tombolo_transfer::remote::Patience;
use tonic::Code;

use self::stage::Staged;
use self::step::Running;
pub use self::step::{Step, carry_out};
use super::Places;
use super::errand::NoCourier;
use crate::folder::{Durability, write_record};
use crate::secrets::Values;
use crate::supervisor::{self, Container, Ending, Exit, Post};

/// How long to wait for an agent that is away, before the command and after it.
const PATIENCE: Patience = Patience {
    call: Duration::from_secs(120),
    operation: Duration::from_secs(60 * 60),
};

/// Why the supervisor of a pod could not do its work. Whatever it had started is gone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// As any supervisor.
    #[error(transparent)]
    Supervisor(#[from] supervisor::Error),
    /// There is nobody to talk to.
    #[error(transparent)]
    NoCourier(#[from] NoCourier),
    /// The agent does not take part: it knows of no such attempt, say.
    #[error(transparent)]
    Agent(#[from] tombolo_transfer::remote::Error),
    /// The sandbox cannot be filled.
    #[error("{0}")]
    Stage(String),
    /// One of its processes failed.
    #[error("{reason}")]
    Step {
        /// What and why.
        reason: String,
        /// Nobody wants to hear of this attempt.
        unwanted: bool,
    },
    /// The system does not play along.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    fn system<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            action,
            source: source.into(),
        }
    }

    /// Whether nobody wants to hear of this attempt.
    const fn is_unwanted(&self) -> bool {
        match self {
            Self::NoCourier(_) => true,
            Self::Step { unwanted, .. } => *unwanted,
            Self::Agent(tombolo_transfer::remote::Error::Refused { code, .. }) => {
                matches!(code, Code::Unauthenticated | Code::PermissionDenied)
            }
            _ => false,
        }
    }
}

/// Does all that the user's container is for, and returns the exit code that it ends with: the command's own, or, as shells have it,
/// 128 and the number of the signal that ended it. `program` is this program as one that calls [`carry_out`]. To be called by a process
/// that has one thread and nothing else to do.
///
/// # Errors
/// See [`Error`]. A command that fails is not an error.
pub fn run(places: &Places, program: impl Fn(Step) -> Command) -> Result<u8, Error> {
    let mut post = Post::take(places.attempt())?;
    let staging = Running::start(program(Step::Stage)).map_err(Error::system("start a process"))?;
    let exit = match post.until_ready(staging.ends())? {
        Some(ending) => {
            drop(staging);
            post.leave(ending)?
        }
        None => attempt(&mut post, staging.wait(), places)?,
    };
    let code = exit_code(&exit);
    let publishing = Running::start(program(Step::Publish)).map_err(Error::system("start a process"))?;
    publishing.wait::<()>()?;
    write_record(&places.finished(), &(), Durability::Fast).map_err(Error::system("record the end"))?;
    post.tell();
    Ok(code)
}

/// From the sandbox that is filled, or is not, to the end of the command.
fn attempt(post: &mut Post, staged: Result<Staged, Error>, places: &Places) -> Result<Exit, Error> {
    match staged {
        Ok(Staged {
            specification,
            notes,
            secrets,
        }) => {
            let secrets: Values = secrets.into_iter().collect();
            if !secrets.are_of(&specification.secrets) {
                let reason = "the agent did not give the values of all secrets".to_owned();
                return Ok(post.leave(Ending::Fault { reason })?);
            }
            write_record(&places.staged(), &(), Durability::Fast).map_err(Error::system("record the sandbox"))?;
            post.tell();
            let container = Container {
                tombolo: places.sandbox.clone(),
                infrabox: places.alias.clone(),
                control_groups: places.control_groups.clone(),
            };
            match post.until_begun()? {
                Some(ending) => Ok(post.leave(ending)?),
                None => Ok(post.run(&specification, &secrets, &container, &notes)?),
            }
        }
        Err(error) if error.is_unwanted() => Err(error),
        Err(error) => {
            let reason = error.to_string();
            Ok(post.leave(Ending::Fault { reason })?)
        }
    }
}

fn exit_code(exit: &Exit) -> u8 {
    const KILLED: i32 = 128 + 9;
    const TERMINATED: i32 = 128 + 15;
    let code = match &exit.ending {
        Ending::Exited { code } => *code,
        Ending::Signalled { signal } => 128 + signal,
        Ending::OutOfMemory { code, .. } => code.unwrap_or(KILLED),
        Ending::Stopped | Ending::Terminated | Ending::LeaseEnded | Ending::StorageFull { .. } => TERMINATED,
        // As `timeout` and shells have it.
        Ending::TimedOut => 124,
        Ending::NotStarted { .. } => 127,
        Ending::Fault { .. } => 1,
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}
