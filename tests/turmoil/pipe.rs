//! One connection: bytes on their way in both directions, which take their time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What is on its way in one direction at the most, in bytes; more waits at the sender's.
const IN_FLIGHT: usize = 256 * 1024;

/// Which way bytes go, or which end something is of: `Up` is from an agent to the master, and the agent's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Up, Self::Down];

    const fn other(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

/// How the sender has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    InOrder,
    Broken,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    chunks: VecDeque<(Instant, VecDeque<u8>)>,
    bytes: usize,
    /// The delay of what is sent at this moment; nothing overtakes what was sent before.
    drawn: (Instant, Duration),
    last_due: Instant,
    /// The end, after all that was sent.
    left: Option<(Instant, Left)>,
    /// Nobody reads any more: what is sent is lost.
    deaf: bool,
    /// Nothing gets through.
    cut: bool,
    /// The machine of the sender's end is gone.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
pub(crate) struct Wire {
    lanes: [Lane; 2],
    latency: Duration,
    rng: ChaCha8Rng,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    wire: Arc<Mutex<Wire>>,
    way: Way,
    timer: Option<Pin<Box<Sleep>>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection: the agent's end and the master's.
pub(crate) fn connection(latency: Duration, rng: ChaCha8Rng) -> (Arc<Mutex<Wire>>, End, End) {
    let lane = || Lane {
        chunks: VecDeque::new(),
        bytes: 0,
        drawn: (Instant::now(), latency / 2),
        last_due: Instant::now(),
        left: None,
        deaf: false,
        cut: false,
        gone: false,
        reader: None,
        writer: None,
    };
    let wire = Wire {
        lanes: [lane(), lane()],
        latency,
        rng,
    };
    let wire = Arc::new(Mutex::new(wire));
    let end = |way| End {
        wire: Arc::clone(&wire),
        way,
        timer: None,
    };
    let ends = (end(Way::Up), end(Way::Down));
    (wire, ends.0, ends.1)
}

impl Lane {
    fn wake(&mut self) {
        [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
            .for_each(Waker::wake);
    }
}

impl Wire {
    const fn lane(&mut self, way: Way) -> &mut Lane {
        &mut self.lanes[way as usize]
    }

    /// When something that is sent now arrives. What is sent at the same moment takes the same time, so that this does not depend on how many
    /// pieces it is in.
    fn due(&mut self, way: Way) -> Instant {
        let now = Instant::now();
        if self.lane(way).drawn.0 != now {
            let most = u64::try_from(self.latency.as_micros()).unwrap_or(u64::MAX);
            let delay = Duration::from_micros(self.rng.random_range(most / 4..=most));
            self.lane(way).drawn = (now, delay);
        }
        let lane = self.lane(way);
        lane.last_due = lane.last_due.max(now + lane.drawn.1);
        lane.last_due
    }

    pub(crate) fn slow_down(&mut self, latency: Duration) {
        self.latency = latency;
    }

    pub(crate) fn cut(&mut self, way: Way, cut: bool) {
        let lane = self.lane(way);
        lane.cut = cut;
        lane.wake();
    }

    /// The process at this end is gone; the other end hears of it, or does not if the machine is gone as well.
    pub(crate) fn abandon(&mut self, way: Way, told: bool) {
        let due = self.due(way);
        let lane = self.lane(way);
        lane.gone = true;
        if told {
            lane.left.get_or_insert((due, Left::Broken));
        }
        lane.wake();
        self.deafen(way.other());
    }

    fn deafen(&mut self, way: Way) {
        let lane = self.lane(way);
        lane.deaf = true;
        lane.chunks.clear();
        lane.bytes = 0;
        lane.wake();
    }
}

impl End {
    /// Waits until `due`. True if that has come.
    fn wait(&mut self, task: &mut Context<'_>, due: Instant) -> bool {
        if due <= Instant::now() {
            return true;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(task).is_ready()
    }
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = Arc::clone(&self.wire);
        let mut wire = lock(&wire);
        if wire.lane(self.way).gone {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let lane = wire.lane(self.way.other());
        lane.reader = Some(task.waker().clone());
        if lane.cut {
            return Poll::Pending;
        }
        let due = lane.chunks.front().map(|(due, _)| *due);
        let Some(due) = due.or(lane.left.map(|(at, _)| at)) else {
            return Poll::Pending;
        };
        if !self.wait(task, due) {
            return Poll::Pending;
        }
        let Some((_, chunk)) = lane.chunks.front_mut() else {
            return Poll::Ready(match lane.left {
                Some((_, Left::Broken)) => Err(io::ErrorKind::ConnectionReset.into()),
                _ => Ok(()),
            });
        };
        let count = buffer.remaining().min(chunk.len());
        let bytes: Vec<u8> = chunk.drain(..count).collect();
        buffer.put_slice(&bytes);
        if chunk.is_empty() {
            lane.chunks.pop_front();
        }
        lane.bytes -= count;
        lane.writer.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = lock(&self.wire);
        let lane = wire.lane(self.way);
        if lane.gone || lane.left.is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if lane.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        if lane.bytes >= IN_FLIGHT {
            lane.writer = Some(task.waker().clone());
            return Poll::Pending;
        }
        let due = wire.due(self.way);
        let lane = wire.lane(self.way);
        lane.chunks.push_back((due, bytes.iter().copied().collect()));
        lane.bytes += bytes.len();
        lane.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = lock(&self.wire);
        let due = wire.due(self.way);
        let lane = wire.lane(self.way);
        lane.left.get_or_insert((due, Left::InOrder));
        lane.wake();
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut wire = lock(&self.wire);
        if wire.lane(self.way).gone {
            return;
        }
        let due = wire.due(self.way);
        let lane = wire.lane(self.way);
        lane.left.get_or_insert((due, Left::InOrder));
        lane.wake();
        wire.deafen(self.way.other());
    }
}
