//! A real S3 endpoint inside this process, over a local folder.

use std::path::Path;

use anyhow::Context;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::state::S3Settings;

/// The bucket that the cluster's store is in.
pub(crate) const BUCKET: &str = "artifacts";
/// How many connections are served at once; an agent opens a few dozen.
const MAX_CONNECTIONS: usize = 256;

/// An endpoint that is bound but not served yet.
pub(crate) struct Endpoint {
    listener: TcpListener,
    service: S3Service,
}

impl Endpoint {
    /// Binds the endpoint. Objects are kept in `folder`.
    pub(crate) async fn bind(folder: &Path, settings: &S3Settings) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let files = FileSystem::new(folder)
            .map_err(|error| anyhow::anyhow!("the S3 endpoint cannot use {}: {error:?}", folder.display()))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(
            settings.access_key_id.clone(),
            settings.secret_access_key.clone(),
        ));
        let listener = TcpListener::bind(("127.0.0.1", settings.port))
            .await
            .with_context(|| format!("the S3 endpoint cannot listen on port {}", settings.port))?;
        Ok(Self {
            listener,
            service: builder.build(),
        })
    }

    /// Serves until the token is cancelled.
    pub(crate) async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    let (socket, _) = accepted.context("the S3 endpoint cannot accept connections")?;
                    let service = self.service.clone();
                    connections.spawn(async move {
                        let server = auto::Builder::new(TokioExecutor::new());
                        if let Err(error) = server.serve_connection(TokioIo::new(socket), service).await {
                            tracing::debug!(%error, "a connection to the S3 endpoint broke");
                        }
                    });
                }
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, "a connection to the S3 endpoint failed");
                    }
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}
