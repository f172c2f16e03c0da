use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Error;

/// How long what a worker has begun on the disk may go on after its end.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Threads that pack, unpack and compress: one of each kind at a time.
const BLOCKING_THREADS: usize = 3;

/// Asynchronous work on a thread of its own, so that the process has one thread again when the command starts.
pub(super) struct Worker<T> {
    thread: JoinHandle<Result<T, Error>>,
    ends: UnixStream,
    cancel: CancellationToken,
}

impl<T: Send + 'static> Worker<T> {
    pub(super) fn start(work: impl Future<Output = Result<T, Error>> + Send + 'static) -> io::Result<Self> {
        let (ends, held) = UnixStream::pair()?;
        let cancel = CancellationToken::new();
        let cancelled = cancel.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let thread = thread::Builder::new().spawn(move || {
            let _held = held;
            let done = runtime.block_on(cancelled.run_until_cancelled(work));
            runtime.shutdown_timeout(SHUTDOWN);
            let interrupted = || Error::system("go on")(io::Error::from(io::ErrorKind::Interrupted));
            done.unwrap_or_else(|| Err(interrupted()))
        })?;
        Ok(Self { thread, ends, cancel })
    }

    /// Is closed when the work is done.
    pub(super) const fn ends(&self) -> &UnixStream {
        &self.ends
    }

    /// What came of it. Work that is not done is broken off.
    pub(super) fn finish(self) -> Result<T, Error> {
        self.cancel.cancel();
        self.wait()
    }

    /// Waits until it is done.
    pub(super) fn wait(self) -> Result<T, Error> {
        let panicked = |_| Error::system("go on")(io::Error::other("a thread panicked"));
        self.thread.join().map_err(panicked)?
    }
}
