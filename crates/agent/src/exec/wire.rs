//! Wire types stop here.

use bytes::Bytes;
use tombolo_core::id::{AttemptId, Epoch, JobId};
use tombolo_proto::exec::v1 as wire;
use tonic::Status;

use super::{Exit, Failure, Input, Output, PIECE_BYTES, Reason, Request, Size, Terminal};

impl TryFrom<wire::Input> for Input {
    type Error = Status;

    fn try_from(input: wire::Input) -> Result<Self, Status> {
        use wire::input::Input as Wire;
        match input.input {
            Some(Wire::Stdin(bytes)) => Ok(Self::Stdin(piece(bytes)?)),
            Some(Wire::StdinEnded(_)) => Ok(Self::StdinEnded),
            Some(Wire::Size(size)) => Ok(Self::Size(size.into())),
            Some(Wire::Taken(taken)) => Ok(Self::Taken(taken.bytes)),
            Some(Wire::Start(_)) => Err(Status::invalid_argument("a session is started once")),
            None => Err(Status::invalid_argument("an input says nothing")),
        }
    }
}

impl From<Input> for wire::Input {
    fn from(input: Input) -> Self {
        use wire::input::Input as Wire;
        let input = match input {
            Input::Stdin(bytes) => Wire::Stdin(bytes),
            Input::StdinEnded => Wire::StdinEnded(wire::StdinEnded {}),
            Input::Size(size) => Wire::Size(size.into()),
            Input::Taken(bytes) => Wire::Taken(wire::Taken { bytes }),
        };
        Self { input: Some(input) }
    }
}

impl TryFrom<wire::Output> for Output {
    type Error = Status;

    fn try_from(output: wire::Output) -> Result<Self, Status> {
        use wire::output::Output as Wire;
        match output.output {
            Some(Wire::Started(_)) => Ok(Self::Started),
            Some(Wire::Stdout(bytes)) => Ok(Self::Stdout(piece(bytes)?)),
            Some(Wire::Stderr(bytes)) => Ok(Self::Stderr(piece(bytes)?)),
            Some(Wire::Taken(taken)) => Ok(Self::Taken(taken.bytes)),
            Some(Wire::Exited(exited)) => exit(&exited).map(Self::Exited),
            Some(Wire::Failed(failed)) => Ok(Self::Failed(Failure {
                reason: reason(failed.reason()),
                message: failed.message,
            })),
            None => Err(Status::invalid_argument("an output says nothing")),
        }
    }
}

impl From<Output> for wire::Output {
    fn from(output: Output) -> Self {
        use wire::output::Output as Wire;
        let output = match output {
            Output::Started => Wire::Started(wire::Started {}),
            Output::Stdout(bytes) => Wire::Stdout(bytes),
            Output::Stderr(bytes) => Wire::Stderr(bytes),
            Output::Taken(bytes) => Wire::Taken(wire::Taken { bytes }),
            Output::Exited(exit) => Wire::Exited(wire::Exited {
                how: Some(match exit {
                    Exit::Code(code) => wire::exited::How::Code(code),
                    Exit::Signal(signal) => wire::exited::How::Signal(signal),
                }),
            }),
            Output::Failed(failure) => Wire::Failed(wire::Failed {
                reason: wire_reason(failure.reason).into(),
                message: failure.message,
            }),
        };
        Self { output: Some(output) }
    }
}

/// What the first input asks for.
pub(crate) fn start(input: Option<wire::Input>) -> Result<(AttemptId, Request), Status> {
    let Some(wire::input::Input::Start(start)) = input.and_then(|input| input.input) else {
        return Err(Status::invalid_argument("the first input says what to start"));
    };
    let job = uuid::Uuid::from_slice(&start.job).map_err(|_| Status::invalid_argument("a job's id has 16 bytes"))?;
    let attempt = AttemptId {
        job: JobId::new(job),
        epoch: Epoch(start.epoch),
    };
    let terminal = start.terminal.map(|terminal| Terminal {
        size: terminal.size.unwrap_or_default().into(),
        kind: terminal.kind,
    });
    let request = Request {
        command: start.command,
        stdin: start.stdin,
        terminal,
    };
    match request.fault() {
        Some(fault) => Err(Status::invalid_argument(fault)),
        None => Ok((attempt, request)),
    }
}

/// The first input of a session with an attempt.
pub(crate) fn start_of(attempt: AttemptId, request: Request) -> wire::Input {
    let start = wire::Start {
        job: attempt.job.uuid().as_bytes().to_vec(),
        epoch: attempt.epoch.0,
        command: request.command,
        stdin: request.stdin,
        terminal: request.terminal.map(|terminal| wire::Terminal {
            size: Some(terminal.size.into()),
            kind: terminal.kind,
        }),
    };
    wire::Input {
        input: Some(wire::input::Input::Start(start)),
    }
}

impl From<wire::Size> for Size {
    fn from(size: wire::Size) -> Self {
        let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        Self {
            columns: side(size.columns),
            rows: side(size.rows),
        }
    }
}

impl From<Size> for wire::Size {
    fn from(size: Size) -> Self {
        Self {
            columns: size.columns.into(),
            rows: size.rows.into(),
        }
    }
}

fn piece(bytes: Bytes) -> Result<Bytes, Status> {
    if bytes.is_empty() || bytes.len() > PIECE_BYTES {
        return Err(Status::invalid_argument("a piece has between 1 and 32768 bytes"));
    }
    Ok(bytes)
}

fn exit(exited: &wire::Exited) -> Result<Exit, Status> {
    match exited.how {
        Some(wire::exited::How::Code(code)) => Ok(Exit::Code(code)),
        Some(wire::exited::How::Signal(signal)) => Ok(Exit::Signal(signal)),
        None => Err(Status::invalid_argument("it is not said how the command ended")),
    }
}

const fn reason(reason: wire::FailedReason) -> Reason {
    match reason {
        wire::FailedReason::NotRunning => Reason::NotRunning,
        wire::FailedReason::JobEnded => Reason::JobEnded,
        wire::FailedReason::TooMany => Reason::TooMany,
        wire::FailedReason::Unavailable => Reason::Unavailable,
        wire::FailedReason::Fault | wire::FailedReason::Unspecified => Reason::Fault,
    }
}

const fn wire_reason(reason: Reason) -> wire::FailedReason {
    match reason {
        Reason::NotRunning => wire::FailedReason::NotRunning,
        Reason::JobEnded => wire::FailedReason::JobEnded,
        Reason::TooMany => wire::FailedReason::TooMany,
        Reason::Unavailable => wire::FailedReason::Unavailable,
        Reason::Fault => wire::FailedReason::Fault,
    }
}
