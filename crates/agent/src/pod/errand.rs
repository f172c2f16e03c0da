//! The supervisor's calls to the agent, by way of the courier.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_transfer::remote::{self, Patience, Remote};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// How long the courier may take to be there: its container may start later, and its image may have to be fetched first.
const COURIER_DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks for it.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What one call, and all, may have in flight: the job's own memory is what it takes.
const CALL_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 2 * CALL_WINDOW_BYTES;

/// Nobody listens at the courier's socket.
#[derive(Debug, thiserror::Error)]
#[error("the courier is not there: {}: {source}", .path.display())]
pub struct NoCourier {
    path: PathBuf,
    source: io::Error,
}

/// The way to the agent.
#[derive(Clone)]
pub(super) struct Errand {
    channel: Channel,
    patience: Patience,
}

impl Errand {
    /// Waits for the courier.
    pub(super) async fn open(path: PathBuf, patience: Patience) -> Result<Self, NoCourier> {
        let deadline = Instant::now() + COURIER_DEADLINE;
        while let Err(source) = UnixStream::connect(&path).await {
            if Instant::now() >= deadline {
                return Err(NoCourier { path, source });
            }
            sleep(LOOK_AGAIN).await;
        }
        let endpoint = Endpoint::from_static("http://courier")
            .initial_stream_window_size(CALL_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let channel = endpoint.connect_with_connector_lazy(service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }));
        Ok(Self { channel, patience })
    }

    pub(super) async fn describe(&self) -> Result<wire::Description, remote::Error> {
        let call = || async {
            let answer = self.client().describe(wire::DescribeRequest {}).await?;
            Ok(answer.into_inner())
        };
        self.patience.spend("say what is to be done", call).await
    }

    pub(super) async fn finish(&self, request: wire::FinishRequest) -> Result<(), remote::Error> {
        let call = || async {
            self.client().finish(request.clone()).await?;
            Ok(())
        };
        self.patience.spend("take the last word", call).await
    }

    /// The artifacts that the agent gives and takes.
    pub(super) fn artifacts(&self) -> Remote {
        Remote::new(self.channel.clone(), self.patience)
    }

    fn client(&self) -> CourierClient<Channel> {
        CourierClient::new(self.channel.clone())
    }
}
