//! Sessions of users with running jobs, with an agent that says what the test wants.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Method, StatusCode};
use reqwest::Upgraded;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;
use tombolo_api::exec::{ClientFrame, Exit, PIECE_BYTES, PROTOCOL, ServerFrame, StartExec, WINDOW_BYTES};
use tombolo_api::{Code, JobState};
use tombolo_core::session::Capability;
use tombolo_identity::transport::Connections;
use tombolo_proto::exec::v1::exec_server::{Exec, ExecServer};
use tombolo_proto::exec::v1::input::Input;
use tombolo_proto::exec::v1::output::Output;
use tombolo_proto::exec::v1::{self as wire, exited};
use tombolo_transfer::peer::serve_offered;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use crate::agent::{Agent, Session};
use crate::builds::{BUILDS, CHAIN, submit, wait_for};
use crate::setting::{DEADLINE, Master, User, problem};

/// One session as the agent has it.
struct Call {
    input: Streaming<wire::Input>,
    output: mpsc::Sender<Result<wire::Output, Status>>,
}

/// Hands the sessions to the test.
#[derive(Clone)]
struct Service(mpsc::UnboundedSender<Call>);

#[tonic::async_trait]
impl Exec for Service {
    type RunStream = ReceiverStream<Result<wire::Output, Status>>;

    async fn run(&self, request: Request<Streaming<wire::Input>>) -> Result<Response<Self::RunStream>, Status> {
        let (output, receiver) = mpsc::channel(64);
        let input = request.into_inner();
        self.0.send(Call { input, output }).unwrap();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl Call {
    async fn next(&mut self) -> Option<Input> {
        let message = tokio::time::timeout(DEADLINE, self.input.message()).await.unwrap();
        message.unwrap()?.input
    }

    async fn say(&self, output: Output) {
        let output = wire::Output { output: Some(output) };
        self.output.send(Ok(output)).await.unwrap();
    }
}

/// A master, and a job that runs at an agent.
struct World {
    master: Master,
    calls: mpsc::UnboundedReceiver<Call>,
    _serving: JoinSet<()>,
}

async fn world(capabilities: Vec<Capability>, change: impl FnOnce(&mut tombolo_master::Configuration)) -> World {
    let master = Master::start_changed(change).await;
    let agent = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = agent.connect_with(Vec::new(), capabilities).await;
    submit(&master.user, CHAIN).await;
    let assignment = session.assignment().await;
    session.run(assignment.attempt).await;
    wait_for(&master.user, 1, |build| build.jobs[0].state == JobState::Running).await;
    let (sender, calls) = mpsc::unbounded_channel();
    let mut serving = JoinSet::new();
    serving.spawn(serve(agent, session, Service(sender)));
    World {
        master,
        calls,
        _serving: serving,
    }
}

async fn serve(agent: Agent, mut session: Session, service: Service) {
    let mut tunnels = JoinSet::new();
    loop {
        let tunnel = session.tunnel_offer().await;
        let (channel, identity, service) = (agent.channel.clone(), agent.identity.clone(), service.clone());
        tunnels.spawn(async move {
            let (connections, stop) = (Connections::default(), CancellationToken::new());
            let services = Routes::new(ExecServer::new(service));
            Box::pin(serve_offered(channel, tunnel, &identity, services, &connections, stop)).await
        });
    }
}

type Socket = WebSocketStream<Upgraded>;

fn path(job: &str) -> String {
    format!("{BUILDS}/1/jobs/{job}/exec")
}

async fn handshake(user: &User, job: &str) -> reqwest::Response {
    let request = user
        .upgrading_request(&path(job))
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", PROTOCOL)
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.send().await.unwrap()
}

async fn open(user: &User) -> Socket {
    let response = handshake(user, "make").await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    // The answer to this key that the standard shows.
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    WebSocketStream::from_raw_socket(response.upgrade().await.unwrap(), Role::Client, None).await
}

async fn send(socket: &mut Socket, frame: ClientFrame) {
    socket.send(Message::Binary(frame.encode())).await.unwrap();
}

fn start(command: &str) -> ClientFrame {
    ClientFrame::Start(StartExec {
        command: vec![command.to_owned()],
        stdin: true,
        terminal: None,
    })
}

async fn next(socket: &mut Socket) -> Option<ServerFrame> {
    loop {
        let message = tokio::time::timeout(DEADLINE + Duration::from_secs(5), socket.next())
            .await
            .unwrap();
        match message?.ok()? {
            Message::Binary(content) => return Some(ServerFrame::decode(&content).unwrap()),
            Message::Close(_) => return None,
            _ => {}
        }
    }
}

async fn failure(socket: &mut Socket) -> (Code, String) {
    loop {
        match next(socket).await {
            Some(ServerFrame::Failed(problem)) => return (problem.code, problem.detail),
            Some(_) => {}
            None => panic!("no failure was told"),
        }
    }
}

#[tokio::test]
async fn frames_pass_in_both_directions() {
    let mut world = world(vec![Capability::Exec], |_| {}).await;
    let mut socket = open(&world.master.user).await;
    send(&mut socket, start("cat")).await;
    let mut call = world.calls.recv().await.unwrap();
    let Some(Input::Start(started)) = call.next().await else {
        panic!("it does not begin with a start")
    };
    assert_eq!(
        (started.command, started.epoch, started.stdin),
        (vec!["cat".to_owned()], 1, true)
    );
    call.say(Output::Started(wire::Started {})).await;
    assert_eq!(next(&mut socket).await, Some(ServerFrame::Started));
    send(&mut socket, ClientFrame::Stdin(Bytes::from_static(b"in"))).await;
    send(&mut socket, ClientFrame::StdinEnded).await;
    assert_eq!(call.next().await, Some(Input::Stdin(Bytes::from_static(b"in"))));
    assert_eq!(call.next().await, Some(Input::StdinEnded(wire::StdinEnded {})));
    for output in [
        Output::Stdout(Bytes::from_static(b"out")),
        Output::Stderr(Bytes::from_static(b"err")),
    ] {
        call.say(output).await;
    }
    assert_eq!(
        next(&mut socket).await,
        Some(ServerFrame::Stdout(Bytes::from_static(b"out")))
    );
    assert_eq!(
        next(&mut socket).await,
        Some(ServerFrame::Stderr(Bytes::from_static(b"err")))
    );
    let how = Some(exited::How::Code(3));
    call.say(Output::Exited(wire::Exited { how })).await;
    assert_eq!(next(&mut socket).await, Some(ServerFrame::Exited(Exit::Code(3))));
    assert_eq!(next(&mut socket).await, None);
    // A user who leaves ends the call.
    let mut socket = open(&world.master.user).await;
    send(&mut socket, start("cat")).await;
    let mut call = world.calls.recv().await.unwrap();
    call.next().await.unwrap();
    drop(socket);
    let gone = tokio::time::timeout(DEADLINE, call.input.message()).await.unwrap();
    assert!(!matches!(gone, Ok(Some(_))), "{gone:?}");
}

#[tokio::test]
async fn whoever_breaks_the_rules_is_cut_off() {
    let mut world = world(vec![Capability::Exec], |_| {}).await;
    let user = world.master.user.clone();
    for first in [
        Message::text("start"),
        Message::Binary(Bytes::new()),
        Message::Binary(ClientFrame::StdinEnded.encode()),
    ] {
        let mut socket = open(&user).await;
        socket.send(first).await.unwrap();
        assert_eq!(failure(&mut socket).await.0, Code::InvalidRequest);
    }
    let piece = || ClientFrame::Stdin(vec![0; PIECE_BYTES].into());
    let flood: Vec<ClientFrame> = (0..=WINDOW_BYTES as usize / PIECE_BYTES).map(|_| piece()).collect();
    for frames in [vec![start("again")], vec![ClientFrame::Taken(1)], flood] {
        let mut socket = open(&user).await;
        send(&mut socket, start("cat")).await;
        let _call = world.calls.recv().await.unwrap();
        for frame in frames {
            send(&mut socket, frame).await;
        }
        assert_eq!(failure(&mut socket).await.0, Code::InvalidRequest);
    }
    // An agent, too.
    let large = || Output::Stdout(vec![0; PIECE_BYTES].into());
    let flood: Vec<Output> = (0..=WINDOW_BYTES as usize / PIECE_BYTES).map(|_| large()).collect();
    for outputs in [
        vec![Output::Taken(wire::Taken { bytes: 1 })],
        vec![Output::Stdout(Bytes::new())],
        flood,
    ] {
        let mut socket = open(&user).await;
        send(&mut socket, start("cat")).await;
        let call = world.calls.recv().await.unwrap();
        for output in outputs {
            call.say(output).await;
        }
        let (code, detail) = failure(&mut socket).await;
        assert_eq!(code, Code::Unavailable);
        assert!(detail.contains("cluster `east`"), "{detail}");
    }
}

#[tokio::test]
async fn what_cannot_be_entered_is_refused_before_anything_opens() {
    let world = world(Vec::new(), |_| {}).await;
    let user = &world.master.user;
    let viewer = world.master.user_with("viewer", Some("default")).await;
    for (user, job, code, words) in [
        (&viewer, "make", Code::Forbidden, "needs the role `developer`"),
        (user, "nobody", Code::NotFound, "job `nobody` does not exist"),
        (user, "test", Code::Conflict, "does not run yet: it is `waiting`"),
        (user, "make", Code::Conflict, "cannot run commands beside those of jobs"),
    ] {
        let refused = problem(handshake(user, job).await).await;
        assert_eq!(refused.code, code, "{job}: {refused:?}");
        assert!(refused.detail.contains(words), "{refused:?}");
    }
    let plain = user.refused(Method::GET, &path("make"), None).await;
    assert_eq!(plain.code, Code::InvalidRequest);
    assert!(plain.detail.contains("WebSocket"), "{plain:?}");
}

#[tokio::test]
async fn an_agent_that_is_away_is_told_of() {
    let mut world = world(vec![Capability::Exec], |_| {}).await;
    world._serving.shutdown().await;
    let asking = async {
        loop {
            let response = handshake(&world.master.user, "make").await;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return problem(response).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let refused = tokio::time::timeout(DEADLINE, asking).await.unwrap();
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.detail.contains("is not connected"), "{refused:?}");
}

#[tokio::test]
async fn sessions_are_bounded_in_number_and_in_idleness() {
    let mut world = world(vec![Capability::Exec], |configuration| {
        configuration.exec.idle = Duration::from_secs(1);
        configuration.exec.sessions_per_build = 1;
    })
    .await;
    let mut socket = open(&world.master.user).await;
    send(&mut socket, start("cat")).await;
    let _call = world.calls.recv().await.unwrap();
    let refused = problem(handshake(&world.master.user, "make").await).await;
    assert_eq!(refused.code, Code::LimitReached);
    let (code, detail) = failure(&mut socket).await;
    assert_eq!(code, Code::RequestTimeout);
    assert!(detail.contains("nothing was typed or printed for 1s"), "{detail}");
    drop(socket);
    let again = async {
        while handshake(&world.master.user, "make").await.status() != StatusCode::SWITCHING_PROTOCOLS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, again).await.unwrap();
}
