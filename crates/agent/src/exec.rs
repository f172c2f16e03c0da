//! Other commands beside those of running attempts: what `tombolo exec` starts.
//!
//! A session is a pair of channels, whoever is at the other end: the supervisor on this machine ([`local`]), or the courier of a pod,
//! which has the supervisor on its own. What is on its way is bounded by credits that go the whole way, from the process to the user
//! and back: whoever sends data may have [`WINDOW_BYTES`] of it that the other end has not said `Taken` of. Whoever drops its end of a
//! session ends the command.

mod entrance;
pub(crate) mod local;
mod pump;
mod service;
pub(crate) mod wire;

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::folder::AttemptFolder;

pub use entrance::{Enter, Entrance};
pub use service::Service;

/// How many bytes of each direction may be on their way.
pub const WINDOW_BYTES: u32 = 256 * 1024;
/// What a piece counts for at least: the smallest costs as much on its way.
pub const LEAST_COST: u32 = 256;
/// The most bytes of one piece.
pub const PIECE_BYTES: usize = 32 * 1024;
/// The most bytes of a command with its arguments, each counted with its end.
pub const COMMAND_BYTES: usize = 64 * 1024;
/// Pieces that wait in a channel; the window bounds their bytes.
const PIECES_WAITING: usize = 64;

/// What a piece of so many bytes, at most [`PIECE_BYTES`], takes of the window.
pub const fn cost(bytes: usize) -> u32 {
    if bytes > LEAST_COST as usize {
        bytes as u32
    } else {
        LEAST_COST
    }
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Whether input comes; else the command finds none.
    pub stdin: bool,
    /// The terminal that the command gets, if any.
    pub terminal: Option<Terminal>,
}

/// A terminal for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its size at the start.
    pub size: Size,
    /// Its kind, as the variable TERM says it; may be empty.
    pub kind: String,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Its width in characters.
    pub columns: u16,
    /// Its height in lines.
    pub rows: u16,
}

/// What goes to the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Input of at most [`PIECE_BYTES`].
    Stdin(Bytes),
    /// No more of it comes.
    StdinEnded,
    /// The terminal has another size.
    Size(Size),
    /// Output that cost so much was taken.
    Taken(u32),
}

/// What comes from the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It was started.
    Started,
    /// It prints.
    Stdout(Bytes),
    /// It complains.
    Stderr(Bytes),
    /// It took input that cost so much.
    Taken(u32),
    /// It has ended; nothing else comes.
    Exited(Exit),
    /// It was not started, or it is not known how it ended; nothing else comes.
    Failed(Failure),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

/// Why there is no command, or no exit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In short.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// The kinds of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The attempt does not run here (yet, or any more).
    NotRunning,
    /// The attempt has ended meanwhile.
    JobEnded,
    /// There are too many sessions.
    TooMany,
    /// What would be needed is too old, or does not answer.
    Unavailable,
    /// The system does not play along.
    Fault,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl fmt::Display) -> Self {
        Self {
            reason,
            message: message.to_string(),
        }
    }
}

impl Request {
    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let bytes: usize = self.command.iter().map(|part| part.len() + 1).sum();
        let kind = self.terminal.as_ref().map_or("", |terminal| terminal.kind.as_str());
        if self.command.first().is_none_or(String::is_empty) {
            Some("the command is empty")
        } else if bytes > COMMAND_BYTES {
            Some("the command is longer than 64 KiB")
        } else if self.command.iter().any(|part| part.contains('\0')) || kind.contains('\0') {
            Some("the command contains a NUL byte")
        } else if kind.len() > 64 {
            Some("the terminal's kind is longer than 64 bytes")
        } else {
            None
        }
    }
}

/// A session as the one who wants it sees it.
#[derive(Debug)]
pub struct Session {
    /// To the command.
    pub input: mpsc::Sender<Input>,
    /// From the command.
    pub output: mpsc::Receiver<Output>,
    /// What is at the other end, if it is a task here: it ends with this value.
    task: Option<AbortOnDropHandle<()>>,
}

impl Session {
    /// The same without its input, and that: dropping the input ends the command too.
    fn without_input(self) -> (Self, mpsc::Sender<Input>) {
        let (closed, _) = mpsc::channel(1);
        let Self { input, output, task } = self;
        let rest = Self {
            input: closed,
            output,
            task,
        };
        (rest, input)
    }

    /// A session with a supervisor on this machine. To be called within a runtime.
    pub(crate) fn local(folder: AttemptFolder, request: Request) -> Self {
        let (session, far) = session();
        let task = tokio::spawn(async move { local::run(&folder, &request, far).await });
        Self {
            task: Some(AbortOnDropHandle::new(task)),
            ..session
        }
    }
}

/// The other end of a [`Session`].
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) input: mpsc::Receiver<Input>,
    pub(crate) output: mpsc::Sender<Output>,
}

/// Both ends of a session.
pub(crate) fn session() -> (Session, Far) {
    let (input, inputs) = mpsc::channel(PIECES_WAITING);
    let (outputs, output) = mpsc::channel(PIECES_WAITING);
    let far = Far {
        input: inputs,
        output: outputs,
    };
    let session = Session {
        input,
        output,
        task: None,
    };
    (session, far)
}
