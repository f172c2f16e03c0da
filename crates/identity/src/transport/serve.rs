use std::convert::Infallible;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::server::{Connected, Router};

use super::{Connection, ConnectionInfo};

/// Serves gRPC on one connection until it ends, or until `stop` and the calls that go on then. The connection does not outlive
/// this future.
pub async fn serve_one<S>(
    router: Router,
    connection: Connection<S>,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let _closed_with_this = connection.close_token().drop_guard();
    let gone = CancellationToken::new();
    let watched = Watched {
        connection,
        _gone: gone.clone().drop_guard(),
    };
    // A stream that ended would mean that the server is to stop at once.
    let incoming = tokio_stream::once(Ok::<_, Infallible>(watched)).chain(tokio_stream::pending());
    let end = async {
        tokio::select! {
            () = gone.cancelled() => {}
            () = stop => {}
        }
    };
    router.serve_with_incoming_shutdown(incoming, end).await
}

/// Says when the connection is dropped.
struct Watched<S> {
    connection: Connection<S>,
    _gone: DropGuard,
}

impl<S> Connected for Watched<S> {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.connection.connect_info()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(task, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(task, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(task, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(task)
    }
}
