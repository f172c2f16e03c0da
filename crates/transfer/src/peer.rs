//! Chunks between members: the service that gives them ([`ChunkService`]), and the ways to it ([`Links`]).
//!
//! The reader is known by its certificate and shows a grant of the master. It asks for chunks by their place in the manifest
//! that the grant names, so that it cannot even spell a chunk of another artifact.

mod authorize;
mod link;
mod manifests;
mod outgoing;
pub(crate) mod reading;
mod recent;
mod reverse;
mod service;
mod signed;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tombolo_artifact::StoredChunk;
use tombolo_core::id::TunnelId;
use tombolo_identity::tls::{ClientCertificate, Identity};
use tombolo_identity::transport::{self, Connections, http2};
use tombolo_proto::transfer::v1::ChunkPiece;
use tonic::service::Routes;
use tonic::transport::Channel;

use crate::tunnel;

pub use authorize::{Authorize, Caller, Readable, Remedy};
pub use link::{Links, RemoteArtifact};
pub use outgoing::Outgoing;
pub use reverse::{Dialler, Door};
pub use service::ChunkService;

/// The data of one message: large enough that a message costs little, small enough that streams share a connection fairly.
pub const PIECE_BYTES: usize = 256 * 1024;
/// The largest message: a piece, or a list of as many chunks as one call may name.
const MAX_MESSAGE_BYTES: usize = PIECE_BYTES + 1024;

/// Cuts bytes into pieces that share their memory.
pub(crate) fn pieces(mut bytes: Bytes) -> impl Iterator<Item = Bytes> + Send {
    std::iter::from_fn(move || {
        let length = bytes.len().min(PIECE_BYTES);
        (length > 0).then(|| bytes.split_to(length))
    })
}

/// The messages of one chunk, the one at this place of its manifest's list.
pub fn chunk_pieces(chunk: u64, stored: &StoredChunk) -> impl Iterator<Item = ChunkPiece> + Send + use<> {
    let [coding, body] = stored.parts();
    let mut left = body.len();
    let first = ChunkPiece {
        chunk,
        data: coding,
        last: body.is_empty(),
    };
    let rest = pieces(body).map(move |data| {
        left -= data.len();
        ChunkPiece {
            chunk,
            data,
            last: left == 0,
        }
    });
    std::iter::once(first).chain(rest)
}

/// Why a tunnel that was offered was not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no tunnel.
    #[error(transparent)]
    Tunnel(#[from] tunnel::Error),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] tombolo_identity::tls::Error),
    /// The other end is not whom we know.
    #[error("the TLS handshake in the tunnel failed: {0}")]
    Handshake(std::io::Error),
    /// The HTTP/2 server failed.
    #[error("the tunnel could not be served: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Accepts the tunnel that the master offered, and serves `services` in it until the other end closes it or `stop` comes.
pub async fn serve_offered(
    master: Channel,
    tunnel: TunnelId,
    identity: &Identity,
    services: Routes,
    connections: &Connections,
    stop: CancellationToken,
) -> Result<(), Error> {
    let stream = tunnel::accept(master, tunnel).await?;
    // Boxed: a TLS session and a server are tens of KiB, which would lie in every caller's future.
    Box::pin(serve_stream(stream, identity, services, connections, stop)).await
}

/// Serves `services` on any stream whose other end proves that it is a member.
pub async fn serve_stream<S>(
    stream: S,
    identity: &Identity,
    services: Routes,
    connections: &Connections,
    stop: CancellationToken,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = identity.server_config(ClientCertificate::Required)?;
    let deadline = transport::Limits::default().handshake;
    let connection = transport::accept(stream, identity, config, deadline, connections)
        .await
        .map_err(Error::Handshake)?;
    let router = http2::server().add_routes(services);
    Ok(transport::serve_one(router, connection, stop.cancelled_owned()).await?)
}
