//! Gives this cluster's chunks to others: in tunnels that the master offers, and at the peer port where one is configured. In tunnels
//! the master also asks for commands beside those of jobs.

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tombolo_core::id::TunnelId;
use tombolo_identity::tls::{ClientCertificate, Identity};
use tombolo_identity::transport::{Acceptor, Connections, Limits, http2};
use tombolo_transfer::peer::{ChunkService, Door, serve_offered};
use tonic::service::Routes;
use tonic::transport::Channel;

use crate::exec;

/// Offers that may wait until they are taken; taking one only starts a task.
pub const OFFERS_WAITING: usize = 64;
/// Tunnels that are served at once: as many as the master splices to one cluster.
const TUNNELS: usize = 256;
/// Connections at the peer port that are open at once: other agents have one each.
const PEER_CONNECTIONS: usize = 4096;

/// Who gives chunks.
#[derive(Clone)]
pub struct Server {
    /// Who this cluster is.
    pub identity: Identity,
    /// The chunks.
    pub chunks: ChunkService,
    /// Commands beside those of jobs, for the master alone.
    pub exec: exec::Service,
    /// The connections that are open, of tunnels and of the peer port.
    pub connections: Connections,
}

impl Server {
    /// Serves every tunnel that is offered, until `stop`. `master` is a bulk connection. Tunnels that go on then are ended.
    pub async fn serve_tunnels(&self, master: Channel, mut offers: mpsc::Receiver<TunnelId>, stop: CancellationToken) {
        let mut tunnels = JoinSet::new();
        loop {
            tokio::select! {
                offer = offers.recv() => match offer {
                    Some(tunnel) if tunnels.len() < TUNNELS => {
                        let (server, master, stop) = (self.clone(), master.clone(), stop.clone());
                        tunnels.spawn(async move { Box::pin(server.serve(master, tunnel, stop)).await });
                    }
                    // The one who wants it tries again later.
                    Some(tunnel) => tracing::warn!(%tunnel, limit = TUNNELS, "tunnel not taken: too many are open"),
                    None => break,
                },
                Some(ended) = tunnels.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a tunnel ended in a fault");
                    }
                }
                () = stop.cancelled() => break,
            }
        }
        tunnels.shutdown().await;
    }

    async fn serve(&self, master: Channel, tunnel: TunnelId, stop: CancellationToken) {
        tracing::debug!(%tunnel, "tunnel offered");
        let services = Routes::new(self.chunks.server()).add_service(self.exec.server());
        let serving = serve_offered(master, tunnel, &self.identity, services, &self.connections, stop);
        match Box::pin(serving).await {
            Ok(()) => tracing::debug!(%tunnel, "tunnel over"),
            Err(error) => tracing::warn!(%tunnel, %error, "tunnel failed"),
        }
    }

    /// Serves the peer port until `stop`, and brings connections that are to be used the other way round to `door`.
    ///
    /// # Errors
    /// If TLS cannot be set up, or the server fails as a whole.
    pub async fn serve_peers(&self, listener: TcpListener, door: &Door, stop: CancellationToken) -> anyhow::Result<()> {
        let limits = Limits {
            connections: PEER_CONNECTIONS,
            ..Limits::default()
        };
        let connections = self.connections.clone();
        let mut incoming = Acceptor::new(
            listener,
            &self.identity,
            ClientCertificate::Required,
            limits,
            connections,
        )?;
        let reverse = incoming.take_reverse();
        let ended = async {
            stop.cancelled().await;
            // Streams do not end by themselves.
            self.connections.close_all();
        };
        let server = http2::server().add_service(self.chunks.server());
        let serving = server.serve_with_incoming_shutdown(incoming, ended);
        let (served, ()) = tokio::join!(serving, door.answer(reverse, stop.clone()));
        Ok(served?)
    }
}
