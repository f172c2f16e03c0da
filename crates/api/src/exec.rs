//! Other commands beside those of running jobs, over a WebSocket: its messages are binary, each one frame of these types. The first
//! frame is the client's [`ClientFrame::Start`], the last one the server's [`ServerFrame::Exited`] or [`ServerFrame::Failed`].
//!
//! A frame is a byte that says which, and then bytes as they are, or JSON. Whoever sends data may have [`WINDOW_BYTES`] of it that the
//! other end has not said `Taken` of, where each piece has its [`cost`]; whoever sends more is cut off.

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// How many bytes of each direction may be on their way.
pub const WINDOW_BYTES: u32 = 256 * 1024;
/// What a piece of data counts for at least: the smallest costs as much on its way.
pub const LEAST_COST: u32 = 256;
/// The most bytes of data in one frame.
pub const PIECE_BYTES: usize = 32 * 1024;
/// The largest frame: the longest command as JSON, each byte of it escaped.
pub const FRAME_BYTES: usize = 6 * COMMAND_BYTES + 4096;
/// The most bytes of a command with its arguments, each counted with its end.
pub const COMMAND_BYTES: usize = 64 * 1024;
/// What the handshake must name as subprotocol.
pub const PROTOCOL: &str = "exec.v1.tombolo.dev";

/// What a piece of so many bytes, at most [`PIECE_BYTES`], takes of the window.
pub const fn cost(bytes: usize) -> u32 {
    if bytes > LEAST_COST as usize {
        bytes as u32
    } else {
        LEAST_COST
    }
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartExec {
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Whether input comes; else the command finds none.
    #[serde(default)]
    pub stdin: bool,
    /// The terminal that the command gets. What it prints is then standard output, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<Terminal>,
}

/// A terminal for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminal {
    /// Its size at the start.
    pub size: TerminalSize,
    /// Its kind, as the variable TERM says it.
    #[serde(default)]
    pub kind: String,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Its width in characters.
    pub columns: u16,
    /// Its height in lines.
    pub rows: u16,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientFrame {
    /// What is to be run; first and once.
    Start(StartExec),
    /// Input of 1 to [`PIECE_BYTES`] bytes.
    Stdin(Bytes),
    /// No more of it comes.
    StdinEnded,
    /// The terminal has another size.
    Resize(TerminalSize),
    /// Output that cost so much was taken.
    Taken(u32),
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerFrame {
    /// The command runs.
    Started,
    /// It prints.
    Stdout(Bytes),
    /// It complains.
    Stderr(Bytes),
    /// It took input that cost so much.
    Taken(u32),
    /// It has ended.
    Exited(Exit),
    /// It was not started, or it is not known how it ended.
    Failed(Problem),
}

/// A message that is no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// It is empty, or its first byte says nothing.
    #[error("a frame of an unknown kind")]
    Kind,
    /// Data of no byte, or of too many.
    #[error("a frame with {0} bytes of data: between 1 and 32768 are allowed")]
    Length(usize),
    /// What follows the first byte cannot be read.
    #[error("a frame that cannot be read: {0}")]
    Content(String),
}

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const START: u8 = 3;
const STARTED: u8 = 4;
const STDIN_ENDED: u8 = 5;
const RESIZE: u8 = 6;
const TAKEN: u8 = 7;
const EXITED: u8 = 8;
const FAILED: u8 = 9;

impl ClientFrame {
    /// As a message.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Start(start) => json(START, start),
            Self::Stdin(data) => raw(STDIN, data),
            Self::StdinEnded => raw(STDIN_ENDED, &[]),
            Self::Resize(size) => json(RESIZE, size),
            Self::Taken(bytes) => json(TAKEN, bytes),
        }
    }

    /// From a message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode(message: &Bytes) -> Result<Self, FrameError> {
        let (kind, content) = split(message)?;
        match kind {
            START => read(&content).map(Self::Start),
            STDIN => data(content).map(Self::Stdin),
            STDIN_ENDED => Ok(Self::StdinEnded),
            RESIZE => read(&content).map(Self::Resize),
            TAKEN => read(&content).map(Self::Taken),
            _ => Err(FrameError::Kind),
        }
    }
}

impl ServerFrame {
    /// As a message.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Started => raw(STARTED, &[]),
            Self::Stdout(data) => raw(STDOUT, data),
            Self::Stderr(data) => raw(STDERR, data),
            Self::Taken(bytes) => json(TAKEN, bytes),
            Self::Exited(exit) => json(EXITED, exit),
            Self::Failed(problem) => json(FAILED, problem),
        }
    }

    /// From a message.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn decode(message: &Bytes) -> Result<Self, FrameError> {
        let (kind, content) = split(message)?;
        match kind {
            STARTED => Ok(Self::Started),
            STDOUT => data(content).map(Self::Stdout),
            STDERR => data(content).map(Self::Stderr),
            TAKEN => read(&content).map(Self::Taken),
            EXITED => read(&content).map(Self::Exited),
            FAILED => read(&content).map(Self::Failed),
            _ => Err(FrameError::Kind),
        }
    }
}

fn raw(kind: u8, content: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + content.len());
    message.put_u8(kind);
    message.put_slice(content);
    message.freeze()
}

fn json<T: Serialize>(kind: u8, content: &T) -> Bytes {
    let mut message = vec![kind];
    serde_json::to_writer(&mut message, content).expect("these types are always JSON");
    message.into()
}

fn split(message: &Bytes) -> Result<(u8, Bytes), FrameError> {
    let kind = message.first().ok_or(FrameError::Kind)?;
    Ok((*kind, message.slice(1..)))
}

fn data(content: Bytes) -> Result<Bytes, FrameError> {
    match content.len() {
        1..=PIECE_BYTES => Ok(content),
        length => Err(FrameError::Length(length)),
    }
}

fn read<T: DeserializeOwned>(content: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(content).map_err(|error| FrameError::Content(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Code;

    #[test]
    fn frames_of_clients_come_back_as_they_were() {
        let size = TerminalSize { columns: 80, rows: 24 };
        for frame in [
            ClientFrame::Start(StartExec {
                command: vec!["sh".to_owned(), "-c".to_owned(), "echo \u{1}é".to_owned()],
                stdin: true,
                terminal: Some(Terminal {
                    size,
                    kind: "xterm".to_owned(),
                }),
            }),
            ClientFrame::Stdin(Bytes::from_static(b"\x00\xff")),
            ClientFrame::Stdin(vec![0; PIECE_BYTES].into()),
            ClientFrame::StdinEnded,
            ClientFrame::Resize(size),
            ClientFrame::Taken(u32::MAX),
        ] {
            assert_eq!(ClientFrame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn frames_of_servers_come_back_as_they_were() {
        for frame in [
            ServerFrame::Started,
            ServerFrame::Stdout(Bytes::from_static(b"out\n")),
            ServerFrame::Stderr(Bytes::from_static(b"\xff")),
            ServerFrame::Taken(7),
            ServerFrame::Exited(Exit::Code(-1)),
            ServerFrame::Exited(Exit::Signal(9)),
            ServerFrame::Failed(Problem::new(Code::Conflict, "the job has ended")),
        ] {
            assert_eq!(ServerFrame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let long = [&[STDIN][..], &vec![0; PIECE_BYTES + 1]].concat();
        for (message, error) in [
            (&b""[..], FrameError::Kind),
            (b"\xff", FrameError::Kind),
            // What servers send.
            (&[STDOUT, 1], FrameError::Kind),
            (&[STDIN], FrameError::Length(0)),
            (&long, FrameError::Length(PIECE_BYTES + 1)),
        ] {
            assert_eq!(ClientFrame::decode(&Bytes::copy_from_slice(message)), Err(error));
        }
        for text in [
            "",
            "{}",
            "-1",
            "{\"columns\": 80, \"rows\": 24, \"depth\": 1}",
            "{\"columns\": 65536, \"rows\": 1}",
        ] {
            for kind in [START, RESIZE, TAKEN] {
                let message = [&[kind], text.as_bytes()].concat();
                let refused = ClientFrame::decode(&message.into());
                assert!(
                    matches!(refused, Err(FrameError::Content(_))),
                    "{kind} {text}: {refused:?}"
                );
            }
        }
    }

    #[test]
    fn the_longest_command_fits_into_a_frame() {
        let start = StartExec {
            command: vec!["\u{1}".repeat(COMMAND_BYTES)],
            stdin: false,
            terminal: None,
        };
        assert!(ClientFrame::Start(start).encode().len() <= FRAME_BYTES);
    }
}
