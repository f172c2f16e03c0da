//! Sessions with a supervisor on this machine, which starts the command and hands its streams over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::pump::{Command, Streams, pump, watched};
use super::{Failure, Far, Reason, Request};
use crate::folder::AttemptFolder;
use crate::supervisor::{Word, connect_in, receive, send};

/// How long the supervisor may take to start the command. A machine under great load needs seconds.
const START_DEADLINE: Duration = Duration::from_secs(15);

/// Runs a command beside that of the attempt in `folder` until it ends or the other end of `far` is dropped, which ends it.
pub(crate) async fn run(folder: &AttemptFolder, request: &Request, far: Far) {
    let outputs = far.output.clone();
    let failure = match start(folder, request).await {
        Ok((connection, command)) => pump(command, connection.ended(), far).await.err(),
        Err(failure) => Some(failure),
    };
    if let Some(failure) = failure {
        // Who does not hear it is gone.
        let _ = outputs.send(super::Output::Failed(failure)).await;
    }
}

async fn start(folder: &AttemptFolder, request: &Request) -> Result<(Connection, Command), Failure> {
    if let Some(fault) = request.fault() {
        return Err(Failure::new(Reason::Fault, fault));
    }
    let fault =
        |error: io::Error| Failure::new(Reason::Fault, format!("the job's supervisor cannot be asked: {error}"));
    let connection = match Connection::open(folder) {
        Ok(connection) => connection,
        Err(error) if error.kind() == io::ErrorKind::NotFound && folder.started().exists() => {
            return Err(Failure::new(
                Reason::Unavailable,
                "the job's supervisor does not take sessions: it is of an older version, or its job has just ended",
            ));
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(Failure::new(Reason::NotRunning, "the job's command does not run here"));
        }
        Err(error) => return Err(fault(error)),
    };
    connection.send(request).await.map_err(fault)?;
    let too_late = |_| {
        let seconds = START_DEADLINE.as_secs();
        Failure::new(
            Reason::Unavailable,
            format!("the job's supervisor did not start the command within {seconds} s"),
        )
    };
    match timeout(START_DEADLINE, connection.receive::<Word>())
        .await
        .map_err(too_late)?
    {
        Ok(Some((Word::Started, streams))) => {
            let streams = Streams::new(request, streams).map_err(fault)?;
            Ok((connection, Command::new(streams)))
        }
        Ok(Some((Word::Refused(failure), _))) => Err(failure),
        Ok(None) => Err(job_ended()),
        Ok(Some((Word::Exited(_), _))) => Err(fault(io::ErrorKind::InvalidData.into())),
        Err(error) => Err(fault(error)),
    }
}

fn job_ended() -> Failure {
    Failure::new(Reason::JobEnded, "the job has ended, and with it the command")
}

/// A connection to the supervisor; the command lives as long as it does.
struct Connection(AsyncFd<OwnedFd>);

impl Connection {
    fn open(folder: &AttemptFolder) -> io::Result<Self> {
        Ok(Self(watched(connect_in(folder)?)?))
    }

    async fn send(&self, request: &Request) -> io::Result<()> {
        loop {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|socket| send(socket.as_fd(), request, &[])) {
                Ok(sent) => return sent,
                Err(_) => continue,
            }
        }
    }

    async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|socket| receive(socket.as_fd())) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(received) => return received,
                Err(_) => continue,
            }
        }
    }

    /// Waits for the command's end.
    async fn ended(self) -> Result<super::Exit, Failure> {
        match self.receive::<Word>().await {
            Ok(Some((Word::Exited(exit), _))) => Ok(exit),
            Ok(None) => Err(job_ended()),
            Ok(Some(_)) => Err(Failure::new(
                Reason::Fault,
                "the job's supervisor says what makes no sense",
            )),
            Err(error) => Err(Failure::new(
                Reason::Fault,
                format!("the job's supervisor cannot be heard: {error}"),
            )),
        }
    }
}
