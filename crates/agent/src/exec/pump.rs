//! Between the streams of a command and the channels of its session, within the credits of both directions.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::{Exit, Failure, Far, Input, LEAST_COST, Output, PIECE_BYTES, Reason, Request, Size, WINDOW_BYTES, cost};
use crate::supervisor::set_size;

/// How long the streams of a command that has ended may be quiet before they are taken to have said all: what it has left in the background
/// may hold them open for ever.
const QUIET: Duration = Duration::from_millis(200);
/// Pieces of input that wait for the command: as many as the window can hold, and some ends.
const INPUTS_WAITING: usize = (WINDOW_BYTES / LEAST_COST) as usize + 16;
/// What ends the input of a terminal in its usual mode (Ctrl-D).
const END_OF_TRANSMISSION: &[u8] = &[4];

/// The ends of a command's streams.
pub(super) enum Streams {
    /// A terminal for all of them.
    Terminal(Stream),
    /// One for each.
    Pipes {
        input: Option<Stream>,
        output: Stream,
        errors: Stream,
    },
}

/// A pipe or a terminal, which never blocks.
#[derive(Clone)]
pub(super) struct Stream(Arc<AsyncFd<OwnedFd>>);

/// A command that was started.
pub(super) struct Command {
    streams: Streams,
    flow: Flow,
}

/// What has moved, and what may.
#[derive(Clone)]
struct Flow {
    /// What output may cost.
    credits: Arc<Semaphore>,
    /// How many bytes were read.
    moved: Arc<AtomicU64>,
    /// How many readers have something in their hands, or wait until they may have.
    busy: Arc<AtomicUsize>,
}

/// Has the runtime watch a descriptor.
#[allow(
    deprecated,
    reason = "unsound only for types that change their descriptor, which an owned one does not; the other way is an unsafe function"
)]
pub(super) fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

impl Stream {
    fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self(Arc::new(watched(descriptor)?)))
    }

    /// Reads what there is; nothing at the end.
    async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|stream| Ok(rustix::io::read(stream, &mut *buffer)?)) {
                // What Linux says of a terminal that nobody has open any more.
                Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Ok(0),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(read) => return read,
                Err(_) => {}
            }
        }
    }

    async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut ready = self.0.writable().await?;
            match ready.try_io(|stream| Ok(rustix::io::write(stream, bytes)?)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(written) => bytes.advance(written?),
                Err(_) => {}
            }
        }
        Ok(())
    }
}

impl Streams {
    /// Those that the supervisor has sent.
    pub(super) fn new(request: &Request, descriptors: Vec<OwnedFd>) -> io::Result<Self> {
        let count = match (&request.terminal, request.stdin) {
            (Some(_), _) => 1,
            (None, true) => 3,
            (None, false) => 2,
        };
        if descriptors.len() != count {
            let reason = format!("{} streams came instead of {count}", descriptors.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let streams: io::Result<VecDeque<Stream>> = descriptors.into_iter().map(Stream::new).collect();
        let mut streams = streams?;
        let mut next = || streams.pop_front().ok_or(io::ErrorKind::InvalidData);
        Ok(if request.terminal.is_some() {
            Self::Terminal(next()?)
        } else {
            let input = if request.stdin { Some(next()?) } else { None };
            let (output, errors) = (next()?, next()?);
            Self::Pipes { input, output, errors }
        })
    }
}

impl Command {
    pub(super) fn new(streams: Streams) -> Self {
        let flow = Flow {
            credits: Arc::new(Semaphore::new(WINDOW_BYTES as usize)),
            moved: Arc::default(),
            busy: Arc::default(),
        };
        Self { streams, flow }
    }
}

/// Moves everything until the command has ended, which `ended` tells, and has said all; or until the other end of `far` is gone.
pub(super) async fn pump(
    command: Command,
    ended: impl Future<Output = Result<Exit, Failure>>,
    far: Far,
) -> Result<(), Failure> {
    let Far { input, output } = far;
    let Command { streams, flow } = command;
    let (feed, fed) = mpsc::channel(INPUTS_WAITING);
    let waiting = Arc::new(AtomicU64::new(0));
    let (input_stream, terminal, outputs) = match streams {
        Streams::Terminal(stream) => (Some(stream.clone()), Some(stream.clone()), (stream, None)),
        Streams::Pipes { input, output, errors } => (input, None, (output, Some(errors))),
    };
    let hearing = Hearing {
        feed,
        waiting: Arc::clone(&waiting),
        terminal: terminal.clone(),
        credits: Arc::clone(&flow.credits),
    };
    let hearing = hearing.run(input);
    let feeding = Feeding {
        stream: input_stream,
        is_terminal: terminal.is_some(),
        waiting,
        output: output.clone(),
    };
    let feeding = feeding.run(fed);
    let (first, second) = outputs;
    let reading = async {
        let errors = async {
            match second {
                Some(errors) => flow.read(&errors, &output, Output::Stderr).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(flow.read(&first, &output, Output::Stdout), errors).map(|_| ())
    };
    let living = async {
        let _ = output.send(Output::Started).await;
        let mut reading = std::pin::pin!(reading);
        let mut ended = std::pin::pin!(ended);
        let mut all_read = false;
        let exit = loop {
            tokio::select! {
                read = &mut reading, if !all_read => {
                    read?;
                    all_read = true;
                }
                exit = &mut ended => break exit,
            }
        };
        if !all_read {
            flow.finish(reading).await?;
        }
        let _ = output.send(Output::Exited(exit?)).await;
        Ok(())
    };
    tokio::select! {
        lived = living => lived,
        heard = hearing => heard,
        never = feeding => match never {},
    }
}

/// Takes what comes for the command.
struct Hearing {
    feed: mpsc::Sender<Option<Bytes>>,
    /// What the input that waits for the command costs.
    waiting: Arc<AtomicU64>,
    terminal: Option<Stream>,
    credits: Arc<Semaphore>,
}

impl Hearing {
    /// Returns when nobody is there any more, or the other end breaks the rules.
    async fn run(self, mut input: mpsc::Receiver<Input>) -> Result<(), Failure> {
        while let Some(next) = input.recv().await {
            match next {
                Input::Stdin(bytes) => {
                    let cost = u64::from(cost(bytes.len()));
                    let waiting = self.waiting.fetch_add(cost, Ordering::AcqRel) + cost;
                    if waiting > u64::from(WINDOW_BYTES) {
                        return Err(Failure::new(Reason::Fault, "more input was sent than was allowed"));
                    }
                    self.feed(Some(bytes))?;
                }
                Input::StdinEnded => self.feed(None)?,
                Input::Size(size) => resize(self.terminal.as_ref(), size),
                Input::Taken(bytes) => {
                    let credits = self.credits.available_permits() + bytes as usize;
                    if credits > WINDOW_BYTES as usize {
                        return Err(Failure::new(Reason::Fault, "more output was taken than was sent"));
                    }
                    self.credits.add_permits(bytes as usize);
                }
            }
        }
        Ok(())
    }

    /// Never waits: whatever else comes must not be held up by a command that reads nothing.
    fn feed(&self, next: Option<Bytes>) -> Result<(), Failure> {
        let full = "the command takes no input, and too many pieces of it wait";
        self.feed.try_send(next).map_err(|_| Failure::new(Reason::Fault, full))
    }
}

fn resize(terminal: Option<&Stream>, size: Size) {
    if let Some(terminal) = terminal
        && let Err(error) = set_size(&*terminal.0, size)
    {
        tracing::debug!(%error, "a terminal did not take its new size");
    }
}

/// Writes input as far as the command takes it, and says so.
struct Feeding {
    /// None if the command takes no input (any more).
    stream: Option<Stream>,
    is_terminal: bool,
    waiting: Arc<AtomicU64>,
    output: mpsc::Sender<Output>,
}

impl Feeding {
    /// Never ends by itself, so that the rest goes on.
    async fn run(mut self, mut fed: mpsc::Receiver<Option<Bytes>>) -> Infallible {
        while let Some(next) = fed.recv().await {
            let Some(bytes) = next else {
                if let Some(terminal) = self.stream.take().filter(|_| self.is_terminal) {
                    let _ = terminal.write_all(END_OF_TRANSMISSION).await;
                }
                continue;
            };
            // A command that has closed its input takes no more of it: the rest is dropped, as by any pipe that broke.
            if let Some(open) = &self.stream
                && open.write_all(&bytes).await.is_err()
            {
                self.stream = None;
            }
            let cost = cost(bytes.len());
            self.waiting.fetch_sub(cost.into(), Ordering::AcqRel);
            let _ = self.output.send(Output::Taken(cost)).await;
        }
        std::future::pending().await
    }
}

impl Flow {
    /// Sends what a stream says, to its end.
    async fn read(
        &self,
        stream: &Stream,
        output: &mpsc::Sender<Output>,
        kind: fn(Bytes) -> Output,
    ) -> Result<(), Failure> {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            self.busy.fetch_add(1, Ordering::AcqRel);
            let room = self.room().await?;
            self.busy.fetch_sub(1, Ordering::AcqRel);
            let count = stream.read(&mut buffer[..room]).await;
            let count = count.map_err(|error| {
                Failure::new(
                    Reason::Fault,
                    format!("what the command prints cannot be read: {error}"),
                )
            })?;
            if count == 0 {
                return Ok(());
            }
            self.busy.fetch_add(1, Ordering::AcqRel);
            self.moved.fetch_add(count as u64, Ordering::AcqRel);
            // Where two streams share the credits, the other one may have taken some meanwhile.
            let spent = self.credits.acquire_many(cost(count)).await.map_err(closed)?;
            spent.forget();
            let sent = output.send(kind(Bytes::copy_from_slice(&buffer[..count]))).await;
            self.busy.fetch_sub(1, Ordering::AcqRel);
            if sent.is_err() {
                // Nobody is there any more, which is seen elsewhere.
                return Ok(());
            }
        }
    }

    /// Waits until something may be sent: how much may be read for that.
    async fn room(&self) -> Result<usize, Failure> {
        let least = self.credits.acquire_many(LEAST_COST).await.map_err(closed)?;
        let room = self.credits.available_permits() + LEAST_COST as usize;
        drop(least);
        Ok(room.min(PIECE_BYTES))
    }

    /// Waits until all is read, or nothing has come for a while from streams that nobody held up.
    async fn finish(&self, mut reading: impl Future<Output = Result<(), Failure>> + Unpin) -> Result<(), Failure> {
        loop {
            let before = self.moved.load(Ordering::Acquire);
            if let Ok(read) = timeout(QUIET, &mut reading).await {
                return read;
            }
            if self.busy.load(Ordering::Acquire) == 0 && self.moved.load(Ordering::Acquire) == before {
                return Ok(());
            }
        }
    }
}

fn closed(_: tokio::sync::AcquireError) -> Failure {
    Failure::new(Reason::Fault, "the session is over")
}
