//! The courier's part in commands beside the job's own: between the agent and the supervisor.

use std::time::Duration;

use http::HeaderValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tombolo_identity::tls::ClientTls;
use tombolo_identity::transport::{self, Address};
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::attendance::Attendance;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tonic::Status;

use super::session::Authorized;
use crate::exec::{Input, Output, Session};
use crate::folder::AttemptFolder;

/// Commands at one time.
const LIMIT: usize = 16;
/// Messages that wait to be sent: their bytes are bounded by the session's window.
const OUTGOING: usize = 16;
/// How long the agent may take to begin.
const OPEN_DEADLINE: Duration = Duration::from_secs(15);

/// Attends to commands that the agent tells of. Dropping it ends them.
pub(super) struct Attendants {
    way: Way,
    folder: AttemptFolder,
    tasks: JoinSet<()>,
}

/// The way to the agent. Each command has a connection of its own: one whose output nobody takes holds up nothing else.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) agent: Address,
    pub(super) tls: ClientTls,
    pub(super) authorization: HeaderValue,
}

impl Attendants {
    pub(super) fn new(way: Way, folder: AttemptFolder) -> Self {
        let tasks = JoinSet::new();
        Self { way, folder, tasks }
    }

    /// Attends to one command. Returns at once.
    pub(super) fn attend(&mut self, session: u64) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= LIMIT {
            return tracing::warn!(session, limit = LIMIT, "a command is not started: too many run");
        }
        let (way, folder) = (self.way.clone(), self.folder.clone());
        self.tasks.spawn(async move {
            match run(way, folder, session).await {
                Ok(()) => tracing::debug!(session, "a command beside the job's own is over"),
                Err(status) => tracing::info!(session, %status, "a command beside the job's own broke off"),
            }
        });
    }
}

async fn run(way: Way, folder: AttemptFolder, number: u64) -> Result<(), Status> {
    let addresses = std::slice::from_ref(&way.agent);
    let agent = transport::connect_lazy(addresses, way.tls, &transport::Proxy::none());
    let mut client = CourierClient::with_interceptor(agent, Authorized(way.authorization));
    let (outgoing, attendances) = mpsc::channel(OUTGOING);
    let gone = || Status::unavailable("the agent is gone");
    outgoing
        .send(attendance(Attendance::Session(number)))
        .await
        .map_err(|_| gone())?;
    let opening = timeout(OPEN_DEADLINE, client.attend(ReceiverStream::new(attendances))).await;
    let opening = opening.map_err(|_| Status::deadline_exceeded("the agent did not begin in time"))?;
    let mut inputs = opening?.into_inner();
    let first = timeout(OPEN_DEADLINE, inputs.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("the agent did not say in time what to start"))??;
    let (_, request) = crate::exec::wire::start(first)?;
    let mut session = Session::local(folder, request);
    loop {
        tokio::select! {
            input = inputs.message() => {
                let Some(input) = input? else { return Ok(()) };
                let input = Input::try_from(input)?;
                session.input.send(input).await.map_err(|_| Status::aborted("the command is gone"))?;
            }
            output = session.output.recv() => {
                let Some(output) = output else { return Ok(()) };
                let over = matches!(output, Output::Exited(_) | Output::Failed(_));
                let output = Attendance::Output(output.into());
                outgoing.send(attendance(output)).await.map_err(|_| gone())?;
                if over {
                    drop(outgoing);
                    // The agent has heard all of it when it ends its side.
                    while inputs.message().await?.is_some() {}
                    return Ok(());
                }
            }
        }
    }
}

fn attendance(attendance: Attendance) -> wire::Attendance {
    wire::Attendance {
        attendance: Some(attendance),
    }
}
