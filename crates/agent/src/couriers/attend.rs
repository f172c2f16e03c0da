//! The call by which a courier attends to one command.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tombolo_core::id::AttemptId;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::attendance::Attendance;
use tombolo_proto::exec::v1 as exec_wire;
use tonic::{Status, Streaming};

use super::visit::Expected;
use crate::exec::wire::start_of;
use crate::exec::{Input, Output};

/// How long a courier may take to say what it is for.
const FIRST_DEADLINE: Duration = Duration::from_secs(10);

/// What goes to the command. Dropping it ends the session.
pub(super) struct Inputs {
    start: Option<exec_wire::Input>,
    input: mpsc::Receiver<Input>,
    _forwarding: AbortOnDropHandle<()>,
}

/// Brings a courier together with the one who waits for it.
pub(super) async fn attend(
    attempt: AttemptId,
    expected: &Expected,
    mut attendances: Streaming<wire::Attendance>,
) -> Result<Inputs, Status> {
    let first = timeout(FIRST_DEADLINE, attendances.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("the first message did not come in time"))??;
    let Some(Attendance::Session(number)) = first.and_then(|first| first.attendance) else {
        return Err(Status::invalid_argument("the first message says which session"));
    };
    let gone = || Status::not_found("nobody waits for this session (any more)");
    let entrant = expected.entering.take(number).ok_or_else(gone)?;
    entrant.attended.send(()).map_err(|()| gone())?;
    let forwarding = tokio::spawn(forward(attendances, entrant.far.output));
    Ok(Inputs {
        start: Some(start_of(attempt, entrant.request)),
        input: entrant.far.input,
        _forwarding: AbortOnDropHandle::new(forwarding),
    })
}

/// Until the courier is gone or breaks the rules: then nobody holds the session's output any more, which ends it.
async fn forward(mut attendances: Streaming<wire::Attendance>, session: mpsc::Sender<Output>) {
    loop {
        let output = match attendances.message().await {
            Ok(None) => return,
            Ok(Some(wire::Attendance {
                attendance: Some(Attendance::Output(output)),
            })) => Output::try_from(output),
            Ok(Some(_)) => Err(Status::invalid_argument("an attendance says nothing")),
            Err(status) => Err(status),
        };
        match output {
            Ok(output) => {
                if session.send(output).await.is_err() {
                    return;
                }
            }
            Err(status) => return tracing::debug!(%status, "a session with a pod is over"),
        }
    }
}

impl Stream for Inputs {
    type Item = Result<exec_wire::Input, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(start) = self.start.take() {
            return Poll::Ready(Some(Ok(start)));
        }
        let input = ready!(self.input.poll_recv(task));
        Poll::Ready(input.map(|input| Ok(input.into())))
    }
}
