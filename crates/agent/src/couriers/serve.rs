//! The port for couriers, inside of the cluster only.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tombolo_identity::tls::{ClientCertificate, Identity};
use tombolo_identity::transport::{Acceptor, Connections, Limits, http2};
use tombolo_proto::courier::v1::courier_server::CourierServer;
use tombolo_transfer::peer::{ChunkService, PIECE_BYTES};

use super::Couriers;
use super::service::Service;

/// The largest message: a piece, or the question for as many chunks as one may name, or a batch of log lines.
const MAX_MESSAGE_BYTES: usize = 4 * PIECE_BYTES;
/// Connections that are open at once: each running pod has one.
const CONNECTIONS: usize = 4096;

/// Serves couriers until `stop`. They know the agent by its certificate, and show a token rather than one of their own.
///
/// # Errors
/// If TLS cannot be set up, or the server fails as a whole.
pub async fn serve(
    couriers: Couriers,
    listener: TcpListener,
    identity: &Identity,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let limits = Limits {
        connections: CONNECTIONS,
        ..Limits::default()
    };
    let connections = Connections::default();
    let certificate = ClientCertificate::Optional;
    let incoming = Acceptor::new(listener, identity, certificate, limits, connections.clone())?;
    let chunks = ChunkService::with_authorization(couriers.shared.store.clone(), couriers.clone());
    let service =
        CourierServer::new(Service::new(couriers, chunks.clone())).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let ended = async {
        stop.cancelled().await;
        // Streams do not end by themselves.
        connections.close_all();
    };
    let server = http2::server().add_service(service).add_service(chunks.server());
    Ok(server.serve_with_incoming_shutdown(incoming, ended).await?)
}
