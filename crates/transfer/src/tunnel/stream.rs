use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_util::sync::PollSender;
use tombolo_proto::transfer::v1::tunnel_frame::Frame;
use tombolo_proto::transfer::v1::{Finished, TunnelFrame};
use tonic::Streaming;

use super::{MAX_DATA_BYTES, frame};

/// One end of a tunnel. Shutting it down ends this direction only; dropping it without that breaks the tunnel, and the other
/// end sees an error, never an end that looks whole.
pub struct Tunnel {
    incoming: Streaming<TunnelFrame>,
    /// What came and was not read yet: at most one frame.
    unread: Bytes,
    finished: bool,
    outgoing: Option<PollSender<TunnelFrame>>,
}

impl Tunnel {
    pub(super) fn new(incoming: Streaming<TunnelFrame>, outgoing: mpsc::Sender<TunnelFrame>) -> Self {
        Self {
            incoming,
            unread: Bytes::new(),
            finished: false,
            outgoing: Some(PollSender::new(outgoing)),
        }
    }

    /// Waits until there is something to read, or the end.
    fn poll_unread(&mut self, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unread.is_empty() && !self.finished {
            let next = ready!(Pin::new(&mut self.incoming).poll_next(task));
            let next = next.ok_or_else(|| broken("the tunnel ended early"))?;
            match next.map_err(|status| broken(status.message()))?.frame {
                Some(Frame::Data(data)) => self.unread = data,
                Some(Frame::Finished(_)) => self.finished = true,
                _ => return Poll::Ready(Err(broken("an unknown frame came out of the tunnel"))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until a frame can be sent.
    fn poll_outgoing(&mut self, task: &mut Context<'_>) -> Poll<io::Result<&mut PollSender<TunnelFrame>>> {
        let shut_down = || io::Error::new(io::ErrorKind::BrokenPipe, "this end of the tunnel was shut down");
        let outgoing = self.outgoing.as_mut().ok_or_else(shut_down)?;
        ready!(outgoing.poll_reserve(task)).map_err(|_| broken("the tunnel is gone"))?;
        Poll::Ready(Ok(outgoing))
    }

    fn poll_send(&mut self, task: &mut Context<'_>, frame: impl FnOnce() -> (Frame, usize)) -> Poll<io::Result<usize>> {
        let outgoing = ready!(self.poll_outgoing(task))?;
        let (sent, length) = frame();
        outgoing
            .send_item(super::frame(sent))
            .map_err(|_| broken("the tunnel is gone"))?;
        Poll::Ready(Ok(length))
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unread(task))?;
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let length = bytes.len().min(MAX_DATA_BYTES);
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_send(task, || (Frame::Data(Bytes::copy_from_slice(&bytes[..length])), length))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices
            .iter()
            .map(|slice| slice.len())
            .sum::<usize>()
            .min(MAX_DATA_BYTES);
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_send(task, || {
            let mut data = BytesMut::with_capacity(length);
            for slice in slices {
                let rest = length - data.len();
                data.extend_from_slice(&slice[..slice.len().min(rest)]);
            }
            (Frame::Data(data.freeze()), length)
        })
    }

    fn is_write_vectored(&self) -> bool {
        // TLS writes records of 16 KiB; several fit into one frame.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A frame in the channel is on its way: nobody has to push it.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_none() {
            return Poll::Ready(Ok(()));
        }
        let outgoing = ready!(self.poll_outgoing(task))?;
        outgoing
            .send_item(frame(Frame::Finished(Finished {})))
            .map_err(|_| broken("the tunnel is gone"))?;
        self.outgoing = None;
        Poll::Ready(Ok(()))
    }
}

fn broken(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, reason.to_owned())
}
