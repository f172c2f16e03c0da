//! A command under its supervisor, as the agent sees it.

use std::io;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::Instant;
use tombolo_core::id::AttemptId;
use tombolo_core::time::Timestamp;

use super::super::{Collected, Error, Running, Urgency};
use super::belongings::Belongings;
use super::{blocking, request};
use crate::folder::{AttemptFolder, read_record};
use crate::link::Lease;
use crate::supervisor::{self, Exit, Presence, Socket, Started};

/// Between two tries to reach a supervisor that lives but does not listen (yet).
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

/// How much of what a supervisor said last is told.
const SAID_LIMIT: usize = 300;

/// A command under its supervisor.
pub struct ProcessRunning {
    folder: AttemptFolder,
    belongings: Belongings,
    attempt: Option<AttemptId>,
    started_at: Option<Timestamp>,
    /// To be collected when it has ended; none for one that an earlier agent started.
    child: Option<Child>,
    socket: Option<Socket>,
    /// For as long as this lasts the command may go on, where that matters.
    lease: Option<Lease>,
    exit: Option<Exit>,
}

impl ProcessRunning {
    pub(super) fn over(folder: &AttemptFolder, exit: Exit, belongings: Belongings) -> Self {
        Self {
            folder: folder.clone(),
            belongings,
            attempt: None,
            started_at: exit.started_at,
            child: None,
            socket: None,
            lease: None,
            exit: Some(exit),
        }
    }

    /// Connects to the supervisor that lives, or finds the exit that it has left meanwhile.
    pub(super) async fn attach(
        folder: &AttemptFolder,
        attempt: AttemptId,
        child: Option<Child>,
        belongings: Belongings,
        patience: Duration,
    ) -> Result<Self, Error> {
        let mut running = Self {
            folder: folder.clone(),
            belongings,
            attempt: Some(attempt),
            started_at: None,
            child,
            socket: None,
            lease: None,
            exit: None,
        };
        running.connect(patience).await?;
        let failed = Error::system::<io::Error>;
        running.started_at = match &running.exit {
            Some(exit) => exit.started_at,
            None => {
                let started: Option<Started> =
                    read_record(&running.folder.started()).map_err(failed("read the start"))?;
                started.map(|started| started.started_at)
            }
        };
        Ok(running)
    }

    /// Until there is a connection, or the exit.
    async fn connect(&mut self, patience: Duration) -> Result<(), Error> {
        let failed = Error::system::<io::Error>;
        let deadline = Instant::now() + patience;
        loop {
            // In this order: who is gone after the exit was looked for may have left it in between.
            let presence = supervisor::presence(&self.folder).map_err(failed("look for the supervisor"))?;
            self.exit = read_record(&self.folder.exit()).map_err(failed("read the exit"))?;
            if self.exit.is_some() {
                return Ok(());
            }
            if presence == Presence::Absent {
                if let Some(attempt) = self.attempt {
                    kill_remains(attempt).await?;
                }
                return Err(lost(&self.folder));
            }
            match Socket::connect(&self.folder) {
                // Listening is not enough: it may be about to end. It runs if the start is recorded.
                Ok(socket) if self.folder.started().exists() => {
                    self.socket = Some(socket);
                    return self.say_lease().await;
                }
                _ if Instant::now() < deadline => tokio::time::sleep(CONNECT_PAUSE).await,
                Ok(_) => return Err(failed("hear of the command's start")(io::ErrorKind::TimedOut.into())),
                Err(error) => return Err(failed("reach the supervisor")(error)),
            }
        }
    }
}

impl ProcessRunning {
    /// With the lease that the command ends with, if it does.
    pub(super) async fn held(mut self, lease: Option<Lease>) -> Result<Self, Error> {
        self.lease = lease;
        self.say_lease().await?;
        Ok(self)
    }

    async fn say_lease(&mut self) -> Result<(), Error> {
        match self.lease.as_ref().and_then(Lease::granted) {
            Some(lease) => self.say(&request::lease(&lease)).await,
            None => Ok(()),
        }
    }

    /// Waits until the supervisor is gone, and tells it of leases meanwhile.
    async fn listen(&mut self, on_output: impl Fn() + Send + Sync) -> Result<(), Error> {
        while let Some(socket) = &mut self.socket {
            tokio::select! {
                grown = socket.grown() => match grown {
                    true => on_output(),
                    false => self.socket = None,
                },
                () = renewed(self.lease.as_mut()) => self.say_lease().await?,
            }
        }
        Ok(())
    }

    /// Says a word to the supervisor. A connection that breaks now is seen by who waits for the end.
    async fn say(&mut self, word: &[u8]) -> Result<(), Error> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        match socket.say(word).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::system::<io::Error>("speak to the supervisor")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Running for ProcessRunning {
    /// It began before there was a value of this kind.
    async fn begun(&mut self, _: &mut Lease, _: impl Fn() + Send + Sync) -> Result<Option<Timestamp>, Error> {
        Ok(self.started_at)
    }

    async fn ended(&mut self, on_output: impl Fn() + Send + Sync) -> Result<Exit, Error> {
        loop {
            if let Some(exit) = &self.exit {
                if let Some(child) = &mut self.child {
                    // So that no zombie is left; it has nothing more to do.
                    let _ = child.wait().await;
                }
                return Ok(exit.clone());
            }
            self.listen(&on_output).await?;
            self.connect(super::START_DEADLINE).await?;
        }
    }

    async fn stop(&mut self, urgency: Urgency) -> Result<(), Error> {
        let word = match urgency {
            Urgency::Graceful => request::STOP,
            Urgency::Immediate => request::KILL,
        };
        self.say(word).await
    }

    async fn collect(&mut self) -> Result<Collected, Error> {
        self.belongings.collect(self.exit.as_ref()).await
    }
}

/// Never, without a lease.
async fn renewed(lease: Option<&mut Lease>) {
    match lease {
        Some(lease) => lease.changed().await,
        None => std::future::pending().await,
    }
}

/// Kills what a supervisor that died has left.
pub(super) async fn kill_remains(attempt: AttemptId) -> Result<(), Error> {
    let killed = blocking(move || supervisor::kill_remains(attempt)).await;
    let killed = killed.map_err(Error::system("kill what is left of the command"))?;
    if killed > 0 {
        tracing::warn!(%attempt, processes = killed, "killed what a supervisor had left");
    }
    Ok(())
}

/// The error for a supervisor that is gone without an exit, with its last line.
pub(super) fn lost(folder: &AttemptFolder) -> Error {
    let text = std::fs::read(folder.supervisor_messages()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    Error::Lost {
        said: last.map(|line| line.chars().take(SAID_LIMIT).collect()),
    }
}
