//! The connection to a supervisor, as those see it who wait for the command's end or ask for it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::request;
use crate::folder::AttemptFolder;

/// The connection to a supervisor.
#[derive(Debug)]
pub(crate) struct Socket(UnixStream);

impl Socket {
    /// Connects to the supervisor that listens in `folder`.
    pub(crate) fn connect(folder: &AttemptFolder) -> io::Result<Self> {
        let stream = folder.with_socket(|path| std::os::unix::net::UnixStream::connect(path))?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream).map(Self)
    }

    /// Waits until the supervisor says that something has changed (`true`) or closes the connection. Cancelling it loses
    /// nothing.
    pub(crate) async fn grown(&mut self) -> bool {
        let mut buffer = [0; 256];
        matches!(self.0.read(&mut buffer).await, Ok(count) if count > 0)
    }

    /// Says one of the words of [`request`].
    pub(crate) async fn say(&mut self, word: &[u8]) -> io::Result<()> {
        self.0.write_all(word).await
    }

    /// Has the command killed, and waits for its end.
    pub(crate) async fn kill_and_wait(&mut self, deadline: Duration) {
        let ended = async {
            if self.say(request::KILL).await.is_ok() {
                while self.grown().await {}
            }
        };
        if tokio::time::timeout(deadline, ended).await.is_err() {
            tracing::warn!("a supervisor did not end in time");
        }
    }
}
