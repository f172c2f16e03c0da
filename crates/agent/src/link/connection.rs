//! One connection for the session.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_core::session::{AgentFrame, MasterFrame};
use tombolo_identity::member::Member;
use tombolo_identity::tls::Distrust;
use tombolo_identity::transport;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::control_client::ControlClient;
use tonic::{Code, Status, Streaming};

use super::Master;

/// Frames that wait to be sent; more make the link wait.
const OUTGOING_FRAMES: usize = 64;
/// The largest frame that is read: an assignment with its environment and inputs.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// How long the master may take to take a frame when those before fill its windows.
const SEND_DEADLINE: Duration = Duration::from_secs(15);
/// How long the master may take to begin the stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failure {
    /// The master does not want this cluster.
    Refused(String),
    /// Another agent has this one's identity, and has taken its place.
    Replaced(String),
    /// The two have different authorities.
    Distrusted(Distrust),
    /// Anything else.
    Lost(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if let Some(distrust) = Distrust::find(&status) {
            return Self::Distrusted(distrust);
        }
        let message = status.message().to_owned();
        match status.code() {
            Code::AlreadyExists => Self::Replaced(message),
            Code::PermissionDenied | Code::Unauthenticated => Self::Refused(message),
            _ => Self::Lost(message),
        }
    }
}

/// An open stream of frames.
pub(super) struct Connection {
    outgoing: mpsc::Sender<wire::AgentFrame>,
    incoming: Streaming<wire::MasterFrame>,
}

/// Connects, after a pause.
pub(super) async fn connect(master: Master, pause: Duration) -> Result<Connection, Failure> {
    sleep(pause).await;
    let lost = |error: &dyn std::fmt::Display| Failure::Lost(error.to_string());
    let tls = master.identity.client(&Member::Master).map_err(|error| lost(&error))?;
    let connecting = transport::connect(&master.addresses, tls, &master.proxy).await;
    let channel = connecting.map_err(|error| match error {
        transport::Error::Unreachable {
            distrust: Some(distrust),
            ..
        } => Failure::Distrusted(distrust),
        error => lost(&error),
    })?;
    let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES);
    let mut client = ControlClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
    let opening = timeout(OPEN_DEADLINE, client.session(ReceiverStream::new(frames))).await;
    let incoming = opening
        .map_err(|_| lost(&"the master did not begin the session in time"))??
        .into_inner();
    Ok(Connection { outgoing, incoming })
}

impl Connection {
    /// The next frame. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Result<MasterFrame, Failure> {
        let frame = self.incoming.message().await?;
        let frame = frame.ok_or_else(|| Failure::Lost("the master ended the session".to_owned()))?;
        MasterFrame::try_from(frame).map_err(|error| Failure::Lost(format!("a frame cannot be read: {error}")))
    }

    pub(super) async fn send(&self, frame: AgentFrame) -> Result<(), Failure> {
        match timeout(SEND_DEADLINE, self.outgoing.send(frame.into())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Failure::Lost("the connection broke".to_owned())),
            Err(_) => Err(Failure::Lost("the master reads too slowly".to_owned())),
        }
    }
}
