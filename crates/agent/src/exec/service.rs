//! The gRPC service for the master, inside of tunnels.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tombolo_identity::member::Member;
use tombolo_identity::transport;
use tombolo_proto::exec::v1 as wire;
use tombolo_proto::exec::v1::exec_server::{Exec, ExecServer};
use tonic::{Request, Response, Status, Streaming};

use super::entrance::Enter;
use super::{Failure, Input, Output, Reason, Session};

/// How many sessions there are at once.
const SESSIONS: usize = 64;
/// The largest message: a piece, or a start with its command.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// How long the master may take to say what to start.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Starts commands for the master. Cheap to clone; clones share the limits.
#[derive(Clone)]
pub struct Service {
    entrance: Arc<dyn Enter>,
    places: Arc<Semaphore>,
}

impl Service {
    /// Starts them by this way.
    pub fn new(entrance: impl Enter) -> Self {
        Self {
            entrance: Arc::new(entrance),
            places: Arc::new(Semaphore::new(SESSIONS)),
        }
    }

    /// The gRPC service. The server's connections are those of [`tombolo_identity::transport`].
    pub fn server(&self) -> ExecServer<Self> {
        ExecServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl Exec for Service {
    type RunStream = Outputs;

    async fn run(&self, request: Request<Streaming<wire::Input>>) -> Result<Response<Outputs>, Status> {
        // Tunnels lead from other clusters too: these have no business with the jobs of this one.
        let peer = transport::peer(request.extensions());
        if peer.is_none_or(|peer| peer.member != Member::Master) {
            return Err(Status::permission_denied("commands are started for the master only"));
        }
        let mut inputs = request.into_inner();
        let first = timeout(START_DEADLINE, inputs.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("it was not said in time what to start"))??;
        let (attempt, wanted) = super::wire::start(first)?;
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let message = format!("{SESSIONS} sessions are open on this cluster already");
            return Ok(Response::new(Outputs::failed(Failure::new(Reason::TooMany, message))));
        };
        match self.entrance.enter(attempt, wanted).await {
            Ok(session) => {
                tracing::info!(%attempt, "a command was started beside the job's own");
                Ok(Response::new(Outputs::of(session, inputs, place)))
            }
            Err(failure) => Ok(Response::new(Outputs::failed(failure))),
        }
    }
}

/// What a command says. Dropping it ends the command.
pub struct Outputs {
    state: State,
}

enum State {
    Open {
        session: Session,
        _forwarding: AbortOnDropHandle<()>,
        _place: OwnedSemaphorePermit,
    },
    Failed(Failure),
    Over,
}

impl Outputs {
    fn of(session: Session, inputs: Streaming<wire::Input>, place: OwnedSemaphorePermit) -> Self {
        let (session, input) = session.without_input();
        let forwarding = tokio::spawn(forward(inputs, input));
        let state = State::Open {
            session,
            _forwarding: AbortOnDropHandle::new(forwarding),
            _place: place,
        };
        Self { state }
    }

    const fn failed(failure: Failure) -> Self {
        Self {
            state: State::Failed(failure),
        }
    }
}

/// Until the master is gone or breaks the rules: then nobody holds the session's input any more, which ends it.
async fn forward(mut inputs: Streaming<wire::Input>, session: mpsc::Sender<Input>) {
    loop {
        let input = match inputs.message().await {
            Ok(Some(input)) => Input::try_from(input),
            Ok(None) => return,
            Err(status) => Err(status),
        };
        match input {
            Ok(input) => {
                if session.send(input).await.is_err() {
                    return;
                }
            }
            Err(status) => return tracing::debug!(%status, "a session is over"),
        }
    }
}

impl Stream for Outputs {
    type Item = Result<wire::Output, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let output = match &mut self.state {
            State::Open { session, .. } => ready!(session.output.poll_recv(task)).unwrap_or_else(|| {
                let message = "the connection to the job broke off: its pod or its node is gone";
                Output::Failed(Failure::new(Reason::JobEnded, message))
            }),
            State::Failed(failure) => Output::Failed(failure.clone()),
            State::Over => return Poll::Ready(None),
        };
        if matches!(output, Output::Exited(_) | Output::Failed(_)) {
            self.state = State::Over;
        }
        Poll::Ready(Some(Ok(output.into())))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use tokio_util::sync::CancellationToken;
    use tombolo_core::id::AttemptId;
    use tombolo_core::name::ClusterName;
    use tombolo_identity::authority::Authority;
    use tombolo_identity::member::TrustDomain;
    use tombolo_identity::tls::Identity;
    use tombolo_identity::transport::{Connections, connect_over};
    use tombolo_proto::exec::v1::exec_client::ExecClient;
    use tombolo_proto::exec::v1::output::Output as Wire;
    use tombolo_transfer::peer::serve_stream;
    use tonic::Code;
    use tonic::service::Routes;

    use super::*;
    use crate::exec::wire::start_of;
    use crate::trial::{attempt, cluster, install_cryptography, wall};

    struct Nobody;

    impl Enter for Nobody {
        fn enter(&self, _: AttemptId, _: super::super::Request) -> BoxFuture<'_, Result<Session, Failure>> {
            async { Err(Failure::new(Reason::NotRunning, "nobody is here")) }.boxed()
        }
    }

    #[tokio::test]
    async fn only_the_master_starts_commands() {
        install_cryptography();
        let authority = Authority::create(TrustDomain::default(), wall()).unwrap();
        let identity =
            |member: &Member| Identity::new(authority.issue(member, authority.trust(), wall()).unwrap()).unwrap();
        let (east, west) = (
            Member::Cluster(cluster()),
            Member::Cluster(ClusterName::new("west").unwrap()),
        );
        for caller in [Member::Master, west] {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let served = identity(&east);
            let services = Routes::new(Service::new(Nobody).server());
            let serving = tokio::spawn(async move {
                let (connections, stop) = (Connections::default(), CancellationToken::new());
                Box::pin(serve_stream(far, &served, services, &connections, stop)).await
            });
            let channel = connect_over(near, identity(&caller).client(&east).unwrap())
                .await
                .unwrap();
            let request = super::super::Request {
                command: vec!["true".to_owned()],
                stdin: false,
                terminal: None,
            };
            let start = start_of(attempt(1), request);
            let answer = ExecClient::new(channel).run(tokio_stream::once(start)).await;
            match caller {
                Member::Master => {
                    let output = answer.unwrap().into_inner().message().await.unwrap().unwrap().output;
                    assert!(matches!(output, Some(Wire::Failed(_))), "{output:?}");
                }
                _ => assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied),
            }
            serving.abort();
        }
    }
}
