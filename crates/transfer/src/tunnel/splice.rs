use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tombolo_core::planted::{Bug, planted};
use tombolo_proto::transfer::v1::tunnel_frame::Frame;
use tombolo_proto::transfer::v1::{Opened, TunnelFrame};
use tonic::{Status, Streaming};

use super::switchboard::Places;
use super::{MAX_DATA_BYTES, frame};

/// A tunnel that moved nothing for so long is closed. Living ends probe each other inside it every 20 s.
const IDLE_LIMIT: Duration = Duration::from_secs(120);

/// What both directions of a tunnel share.
pub(super) struct Tunnelling {
    /// Cancelled when either direction fails: the other then ends too.
    broken: CancellationToken,
    /// Cancelled when both directions have ended well.
    complete: CancellationToken,
    ended: AtomicUsize,
    /// Bytes of both directions.
    moved: AtomicU64,
    /// Bytes of all tunnels.
    total: Arc<AtomicU64>,
    /// Counts against the limits while the tunnel lives.
    _places: Places,
}

impl Tunnelling {
    pub(super) fn new(total: Arc<AtomicU64>, places: Places) -> Arc<Self> {
        Arc::new(Self {
            broken: CancellationToken::new(),
            complete: CancellationToken::new(),
            ended: AtomicUsize::new(0),
            moved: AtomicU64::new(0),
            total,
            _places: places,
        })
    }

    fn end_one(&self) {
        if self.ended.fetch_add(1, Ordering::AcqRel) == 1 {
            self.complete.cancel();
        }
    }
}

/// One direction: what the other end sends, as the answer to this end's call. It is the request stream of the other call itself,
/// so that nothing is buffered between the two.
pub struct Splice {
    from: Streaming<TunnelFrame>,
    stage: Stage,
    shared: Arc<Tunnelling>,
    broken: Pin<Box<WaitForCancellationFutureOwned>>,
    complete: Pin<Box<WaitForCancellationFutureOwned>>,
    idle: Pin<Box<Sleep>>,
    moved_at_last_look: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The end has not been told yet that the tunnel is open.
    Opening,
    Open,
    /// The other end has said that nothing more comes; its call has to end now.
    Finished,
    /// This direction has ended well; the call stays until the other has, since its end would end that too.
    Waiting,
    Over,
}

impl Splice {
    pub(super) fn new(from: Streaming<TunnelFrame>, shared: Arc<Tunnelling>) -> Self {
        Self {
            from,
            stage: Stage::Opening,
            broken: Box::pin(shared.broken.clone().cancelled_owned()),
            complete: Box::pin(shared.complete.clone().cancelled_owned()),
            idle: Box::pin(tokio::time::sleep(IDLE_LIMIT)),
            moved_at_last_look: 0,
            shared,
        }
    }

    fn fail(&mut self, status: Status) -> Poll<Option<Result<TunnelFrame, Status>>> {
        self.stage = Stage::Over;
        self.shared.broken.cancel();
        Poll::Ready(Some(Err(status)))
    }

    fn take(&mut self, mut next: TunnelFrame) -> Result<TunnelFrame, Status> {
        match &mut next.frame {
            Some(Frame::Data(data)) if self.stage == Stage::Open && data.len() <= MAX_DATA_BYTES => {
                if planted(Bug::RelayByteDropped) {
                    data.truncate(data.len().saturating_sub(1));
                }
                let length = data.len() as u64;
                self.shared.moved.fetch_add(length, Ordering::Relaxed);
                self.shared.total.fetch_add(length, Ordering::Relaxed);
                Ok(next)
            }
            Some(Frame::Finished(_)) if self.stage == Stage::Open => {
                self.stage = Stage::Finished;
                Ok(next)
            }
            _ => Err(Status::aborted("the other end of the tunnel broke the protocol")),
        }
    }

    /// Whether nothing has moved in either direction for [`IDLE_LIMIT`].
    fn poll_idle(&mut self, task: &mut Context<'_>) -> Poll<()> {
        while self.idle.as_mut().poll(task).is_ready() {
            let moved = self.shared.moved.load(Ordering::Relaxed);
            if moved == self.moved_at_last_look {
                return Poll::Ready(());
            }
            self.moved_at_last_look = moved;
            self.idle.as_mut().reset(Instant::now() + IDLE_LIMIT);
        }
        Poll::Pending
    }

    fn poll_frame(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<TunnelFrame, Status>>> {
        match Pin::new(&mut self.from).poll_next(task) {
            Poll::Ready(Some(Ok(next))) => match self.take(next) {
                Ok(next) => Poll::Ready(Some(Ok(next))),
                Err(status) => self.fail(status),
            },
            Poll::Ready(None) if self.stage == Stage::Finished => {
                self.stage = Stage::Waiting;
                self.shared.end_one();
                self.poll_complete(task)
            }
            Poll::Ready(None | Some(Err(_))) => self.fail(Status::aborted("the other end of the tunnel is gone")),
            Poll::Pending => match self.poll_idle(task) {
                Poll::Ready(()) => self.fail(Status::aborted("nothing moved in the tunnel for too long")),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn poll_complete(&mut self, task: &mut Context<'_>) -> Poll<Option<Result<TunnelFrame, Status>>> {
        std::task::ready!(self.complete.as_mut().poll(task));
        self.stage = Stage::Over;
        Poll::Ready(None)
    }
}

impl Stream for Splice {
    type Item = Result<TunnelFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        match this.stage {
            Stage::Over => return Poll::Ready(None),
            Stage::Opening => {
                this.stage = Stage::Open;
                return Poll::Ready(Some(Ok(frame(Frame::Opened(Opened {})))));
            }
            _ => {}
        }
        if this.broken.as_mut().poll(task).is_ready() {
            return this.fail(Status::aborted("the other end of the tunnel is gone"));
        }
        match this.stage {
            Stage::Waiting => this.poll_complete(task),
            _ => this.poll_frame(task),
        }
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        // The call ended before the tunnel did: whoever is at the other end must not wait for more.
        if self.stage != Stage::Over {
            self.shared.broken.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
