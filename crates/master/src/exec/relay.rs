//! One session, from its first frame to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;
use tombolo_api::exec::{ClientFrame, Exit, ServerFrame, StartExec};
use tombolo_api::problem::{Code, Problem};
use tombolo_core::control::record::Token;
use tombolo_proto::exec::v1 as wire;
use tombolo_proto::exec::v1::exec_client::ExecClient;
use tombolo_proto::exec::v1::input::Input;
use tonic::Streaming;

use super::meter::{Broken, Meter};
use super::{Exec, Place, Target, convert};
use crate::clock::Clock;

/// How long a user may take to say what to start.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// How long the agent may take until the command runs, with the tunnel that is opened for it.
const OPEN_DEADLINE: Duration = Duration::from_secs(45);
/// How long either side may take to take a message: what is on its way has room, unless the other end is gone.
const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// How often both sides are probed, and whether the user's right still holds is looked at.
const TICK: Duration = Duration::from_secs(20);
/// How long a user may be silent: clients say something more often, if only `ping`.
const SILENCE: Duration = Duration::from_secs(90);
/// Messages that wait for the agent. The session's window bounds their bytes.
const MESSAGES_WAITING: usize = 64;
/// The largest message of an agent: a piece, or a failure in words.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// What of a command stands in the log.
const LOGGED_CHARACTERS: usize = 200;

/// Who has a session, and from where.
pub(crate) struct Caller {
    pub(crate) token: Token,
    pub(crate) remote: Option<SocketAddr>,
}

/// What a session is about.
pub(crate) struct Subject {
    pub(crate) exec: Exec,
    /// Counts while the session lives.
    pub(crate) _place: Place,
    pub(crate) target: Target,
    pub(crate) caller: Caller,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A session that was admitted.
pub(crate) struct Session<S> {
    pub(crate) subject: Subject,
    pub(crate) socket: WebSocketStream<S>,
    pub(crate) stopping: CancellationToken,
}

/// Why a session ends.
enum End {
    /// The command has ended.
    Exited(Exit),
    /// Something went wrong, which the user is told.
    Failed(Problem),
    /// The user has left.
    Left,
}

/// What passes between both sides.
struct Relay<S> {
    session: Session<S>,
    input: mpsc::Sender<wire::Input>,
    output: Streaming<wire::Output>,
    stdin: Meter,
    printed: Meter,
    ticks: Interval,
    /// When anything was last heard of the user.
    heard: Instant,
    /// When a byte of the user or of the command last passed.
    active: Instant,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Session<S> {
    /// Runs it to its end.
    pub(crate) async fn run(mut self) {
        let began = Instant::now();
        let start = match timeout(START_DEADLINE, self.first()).await {
            Ok(Ok(start)) => start,
            Ok(Err(End::Failed(problem))) => return self.fail(problem).await,
            Ok(Err(_)) => return,
            Err(_) => {
                return self
                    .fail(Problem::new(Code::RequestTimeout, "the command did not arrive in time"))
                    .await;
            }
        };
        let command: String = start.command.join(" ").chars().take(LOGGED_CHARACTERS).collect();
        let Subject {
            exec, target, caller, ..
        } = &self.subject;
        let token = &caller.token;
        let (remote, epoch) = (caller.remote.map(tracing::field::display), target.attempt.epoch);
        let span = tracing::info_span!(
            target: "audit", "exec", token = %token.id, name = token.name, remote, project = %target.project,
            build = target.number, job = %target.job, %epoch, cluster = %target.cluster, command = ?command,
        );
        tracing::info!(
            target: "audit", parent: &span, terminal = start.terminal.is_some(), open = exec.open(), started = exec.started(),
            "session opened",
        );
        let opened = timeout(OPEN_DEADLINE, self.subject.open(start)).await;
        let (mut socket, end, sent, printed) = match opened {
            Ok(Ok((input, output))) => {
                let mut relay = Relay::new(self, input, output);
                let end = Box::pin(relay.run()).await;
                (relay.session.socket, end, relay.stdin.total(), relay.printed.total())
            }
            Ok(Err(problem)) => (self.socket, End::Failed(problem), 0, 0),
            Err(_) => {
                let detail = format!(
                    "cluster `{}` did not start the command in time",
                    self.subject.target.cluster
                );
                (self.socket, End::Failed(Problem::new(Code::Unavailable, detail)), 0, 0)
            }
        };
        let how = match &end {
            End::Exited(Exit::Code(code)) => format!("exit code {code}"),
            End::Exited(Exit::Signal(signal)) => format!("signal {signal}"),
            End::Failed(problem) => problem.detail.clone(),
            End::Left => "the user left".to_owned(),
        };
        let seconds = began.elapsed().as_secs_f32();
        tracing::info!(target: "audit", parent: &span, how, seconds, sent, printed, "session closed");
        let last = match end {
            End::Exited(exit) => ServerFrame::Exited(exit),
            End::Failed(problem) => ServerFrame::Failed(problem),
            End::Left => return,
        };
        say_last(&mut socket, last).await;
    }

    async fn fail(mut self, problem: Problem) {
        say_last(&mut self.socket, ServerFrame::Failed(problem)).await;
    }

    async fn first(&mut self) -> Result<StartExec, End> {
        loop {
            let message = self.socket.next().await.and_then(Result::ok).ok_or(End::Left)?;
            let content = match message {
                Message::Binary(content) => content,
                Message::Ping(_) | Message::Pong(_) => continue,
                _ => return Err(broken("the first message is no frame")),
            };
            return match ClientFrame::decode(&content) {
                Ok(ClientFrame::Start(start)) => Ok(start),
                Ok(_) => Err(broken("the first frame does not say what to start")),
                Err(error) => Err(broken(error)),
            };
        }
    }
}

impl Subject {
    /// Reaches the agent.
    async fn open(&self, start: StartExec) -> Result<(mpsc::Sender<wire::Input>, Streaming<wire::Output>), Problem> {
        let Target { attempt, cluster, .. } = &self.target;
        let unavailable = |reason: &dyn std::fmt::Display| {
            let detail = format!("cluster `{cluster}` cannot be reached: {reason}");
            Problem::new(Code::Unavailable, detail)
        };
        let channel = self.exec.shared.links.dial(cluster).await;
        let channel = channel.map_err(|error| unavailable(&error))?;
        let (input, inputs) = mpsc::channel(MESSAGES_WAITING);
        let first = convert::message(convert::start(*attempt, start));
        input.send(first).await.map_err(|error| unavailable(&error))?;
        let mut client = ExecClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match client.run(ReceiverStream::new(inputs)).await {
            Ok(output) => Ok((input, output.into_inner())),
            Err(status) if status.code() == tonic::Code::InvalidArgument => {
                Err(Problem::new(Code::InvalidRequest, status.message()))
            }
            Err(status) => Err(unavailable(&status.message())),
        }
    }

    /// Whether the user may still do this.
    async fn is_allowed(&self) -> bool {
        let (secret, now) = (self.caller.token.secret, self.clock.now().wall);
        let known = self
            .exec
            .shared
            .handle
            .query(move |control| control.token_by_secret(&secret, now).is_some());
        // While the driver starts again nobody knows; the next look tells.
        known.await.unwrap_or(true)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Relay<S> {
    fn new(session: Session<S>, input: mpsc::Sender<wire::Input>, output: Streaming<wire::Output>) -> Self {
        let mut ticks = interval(TICK.min(session.subject.exec.shared.settings.idle));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self {
            session,
            input,
            output,
            stdin: Meter::default(),
            printed: Meter::default(),
            ticks,
            heard: now,
            active: now,
        }
    }

    async fn run(&mut self) -> End {
        loop {
            let passed = tokio::select! {
                message = self.session.socket.next() => match message {
                    Some(Ok(message)) => self.hear(message).await,
                    Some(Err(_)) | None => Err(End::Left),
                },
                output = self.output.message() => match output {
                    Ok(Some(output)) => self.print(output).await,
                    Ok(None) => Err(self.lost("it ended the session without a word")),
                    Err(status) => Err(self.lost(status.message())),
                },
                _ = self.ticks.tick() => self.tick().await,
                () = self.session.stopping.cancelled() => {
                    Err(End::Failed(Problem::new(Code::Unavailable, "the master is stopping, which ends the session")))
                }
            };
            if let Err(end) = passed {
                return end;
            }
        }
    }

    fn lost(&self, reason: &str) -> End {
        let cluster = &self.session.subject.target.cluster;
        let detail =
            format!("the connection to the agent of cluster `{cluster}` broke, which ends the session: {reason}");
        End::Failed(Problem::new(Code::Unavailable, detail))
    }

    /// From the user.
    async fn hear(&mut self, message: Message) -> Result<(), End> {
        self.heard = Instant::now();
        let content = match message {
            Message::Binary(content) => content,
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Left),
            _ => return Err(broken("a message is no frame")),
        };
        let too_much = |Broken| broken("more bytes were sent or taken than the window allows");
        let input = match ClientFrame::decode(&content).map_err(broken)? {
            ClientFrame::Start(_) => return Err(broken("a session starts one command")),
            ClientFrame::Stdin(bytes) => {
                self.stdin.sent(bytes.len()).map_err(too_much)?;
                self.active = self.heard;
                Input::Stdin(bytes)
            }
            ClientFrame::StdinEnded => Input::StdinEnded(wire::StdinEnded {}),
            ClientFrame::Resize(size) => Input::Size(convert::size(size)),
            ClientFrame::Taken(bytes) => {
                self.printed.taken(bytes).map_err(too_much)?;
                Input::Taken(wire::Taken { bytes })
            }
        };
        // An agent that does not take it is gone, or will be found to be by its own connection.
        match timeout(SEND_DEADLINE, self.input.send(convert::message(input))).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.lost("it takes nothing")),
        }
    }

    /// From the agent.
    async fn print(&mut self, output: wire::Output) -> Result<(), End> {
        let frame = convert::frame(output).ok_or_else(|| self.lost("it says what makes no sense"))?;
        let metered = match &frame {
            ServerFrame::Exited(exit) => return Err(End::Exited(*exit)),
            ServerFrame::Failed(problem) => return Err(End::Failed(problem.clone())),
            ServerFrame::Stdout(bytes) | ServerFrame::Stderr(bytes) => {
                self.active = Instant::now();
                self.printed.sent(bytes.len())
            }
            ServerFrame::Taken(bytes) => self.stdin.taken(*bytes),
            ServerFrame::Started => Ok(()),
        };
        metered.map_err(|Broken| self.lost("it sent or took more bytes than the window allows"))?;
        self.send(Message::Binary(frame.encode())).await
    }

    async fn send(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND_DEADLINE, self.session.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Left),
        }
    }

    async fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now.duration_since(self.heard) >= SILENCE {
            return Err(End::Left);
        }
        let idle = self.session.subject.exec.shared.settings.idle;
        if now.duration_since(self.active) >= idle {
            let idle = humantime::format_duration(idle);
            let detail = format!("nothing was typed or printed for {idle}, which ends the session");
            return Err(End::Failed(Problem::new(Code::RequestTimeout, detail)));
        }
        if !self.session.subject.is_allowed().await {
            let detail = "the token was revoked or has expired, which ends the session";
            return Err(End::Failed(Problem::new(Code::Unauthenticated, detail)));
        }
        self.send(Message::Ping(Default::default())).await
    }
}

fn broken(reason: impl std::fmt::Display) -> End {
    let detail = format!("the client does not keep to the protocol: {reason}");
    End::Failed(Problem::new(Code::InvalidRequest, detail))
}

/// Tells the end, and waits until it was heard.
async fn say_last<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, frame: ServerFrame) {
    let saying = async {
        socket.send(Message::Binary(frame.encode())).await?;
        socket.close(None).await?;
        while let Some(message) = socket.next().await {
            message?;
        }
        Ok::<(), tokio_tungstenite::tungstenite::Error>(())
    };
    // Who does not hear it is gone.
    let _ = timeout(SEND_DEADLINE, saying).await;
}
