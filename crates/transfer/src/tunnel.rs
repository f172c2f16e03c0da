//! Tunnels: byte streams between two members that cannot reach each other, spliced by the master.
//!
//! One member dials ([`open`]), the master offers the tunnel to the other on its control stream, that one dials back
//! ([`accept`]), and the master's [`Switchboard`] hands the frames of each call to the other. It holds none: what a reader does
//! not take stays in the HTTP/2 windows, and in the end with the writer. Members run mutual TLS inside, so that the master
//! sees ciphertext.

mod splice;
mod stream;
mod switchboard;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_core::id::TunnelId;
use tombolo_core::name::ClusterName;
use tombolo_proto::transfer::v1::TunnelFrame;
use tombolo_proto::transfer::v1::tunnel_frame::Frame;
use tombolo_proto::transfer::v1::tunnels_client::TunnelsClient;
use tonic::transport::Channel;
use tonic::{Code, Status};

pub use splice::Splice;
pub use stream::Tunnel;
pub use switchboard::{Limits, Offer, Refusal, Switchboard};

/// The most data of one frame: four TLS records, so that the envelope costs little and one frame cannot take much memory.
pub const MAX_DATA_BYTES: usize = 64 * 1024;
/// The largest encoded frame: the data and its envelope.
const MAX_FRAME_BYTES: usize = MAX_DATA_BYTES + 1024;
/// Frames that wait to be sent; more make the writer wait. 256 KiB a tunnel.
const OUTGOING_FRAMES: usize = 4;
/// How long a member waits for the other end: the master's own deadlines and a slow link.
const OPEN_DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The other end is away, busy, or did not answer in time; trying again later can help.
    #[error("no tunnel: {0}")]
    Unavailable(String),
    /// The master does not allow it.
    #[error("the tunnel was refused: {0}")]
    Refused(String),
    /// The master did not say what it should.
    #[error("the tunnel was not opened as agreed: {0}")]
    Protocol(String),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated | Code::NotFound => Self::Refused(message),
            Code::InvalidArgument | Code::Unimplemented => Self::Protocol(message),
            _ => Self::Unavailable(message),
        }
    }
}

/// Opens a tunnel to a cluster, over a bulk connection to the master.
pub async fn open(master: Channel, target: &ClusterName) -> Result<Tunnel, Error> {
    establish(master, Frame::Dial(target.as_str().to_owned())).await
}

/// Accepts the tunnel that was offered to this cluster, over a bulk connection to the master.
pub async fn accept(master: Channel, tunnel: TunnelId) -> Result<Tunnel, Error> {
    establish(master, Frame::Accept(tunnel.uuid().as_bytes().to_vec().into())).await
}

async fn establish(master: Channel, first: Frame) -> Result<Tunnel, Error> {
    let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES);
    outgoing
        .try_send(frame(first))
        .expect("a fresh channel has room for one frame");
    let mut client = TunnelsClient::new(master).max_decoding_message_size(MAX_FRAME_BYTES);
    let opening = async {
        let mut incoming = client.open(ReceiverStream::new(frames)).await?.into_inner();
        match incoming.message().await?.and_then(|frame| frame.frame) {
            Some(Frame::Opened(_)) => Ok(incoming),
            _ => Err(Error::Protocol("the first answer was not that it is open".to_owned())),
        }
    };
    let incoming = tokio::time::timeout(OPEN_DEADLINE, opening).await.map_err(|_| {
        Error::Unavailable(format!(
            "the master gave no answer within {} s",
            OPEN_DEADLINE.as_secs()
        ))
    })??;
    Ok(Tunnel::new(incoming, outgoing))
}

fn frame(frame: Frame) -> TunnelFrame {
    TunnelFrame { frame: Some(frame) }
}
