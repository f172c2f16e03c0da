//! One session, as the user's side sees it.

use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use reqwest::Upgraded;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tombolo_api::Problem;
use tombolo_api::exec::{ClientFrame, Exit, LEAST_COST, ServerFrame, StartExec, WINDOW_BYTES, cost};

use super::streams::{self, Piece, Printer};
use super::terminal::{self, Raw};
use crate::failure::{ExitCode, Failure};
use crate::render::write_failure;

/// How often the master is probed.
const PING: Duration = Duration::from_secs(20);
/// How long the master may be silent: it probes too.
const SILENCE: Duration = Duration::from_secs(60);
/// How long the master may take to take a message.
const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// How long a farewell may take.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);

/// How a session ends.
enum End {
    Exited(Exit),
    Failed(Box<Problem>),
    /// A signal to this process.
    Signalled(i32),
    /// What was printed cannot be written.
    Unwritable,
    Lost(String),
}

struct Session {
    socket: WebSocketStream<Upgraded>,
    input: Option<mpsc::Receiver<Bytes>>,
    /// What was read and not sent yet.
    unsent: Bytes,
    /// What input may cost.
    room: u32,
    printer: Printer,
    has_terminal: bool,
    raw: Option<Raw>,
    heard: Instant,
    ticks: Interval,
    signals: Signals,
}

struct Signals {
    resized: Signal,
    ends: Vec<(Signal, i32)>,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let ends = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let ends = ends.map(|kind| signal(kind).map(|signal| (signal, kind.as_raw_value())));
        Ok(Self {
            resized: signal(SignalKind::window_change())?,
            ends: ends.into_iter().collect::<Result<_, _>>()?,
        })
    }
}

/// The number of the next signal that is to end this process.
async fn next_end(ends: &mut [(Signal, i32)]) -> i32 {
    let arriving = ends.iter_mut().map(|(signal, number)| {
        Box::pin(async move {
            match signal.recv().await {
                Some(()) => *number,
                None => std::future::pending().await,
            }
        })
    });
    futures::future::select_all(arriving).await.0
}

/// Runs the command to its end; the code that this process is to exit with.
pub(super) async fn run(socket: WebSocketStream<Upgraded>, start: StartExec) -> Result<u8, Failure> {
    let mut ticks = interval(PING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut session = Session {
        socket,
        input: if start.stdin { Some(streams::input()?) } else { None },
        unsent: Bytes::new(),
        room: WINDOW_BYTES,
        printer: Printer::start()?,
        has_terminal: start.terminal.is_some(),
        raw: None,
        heard: Instant::now(),
        ticks,
        signals: Signals::listen()?,
    };
    let end = session.serve(start).await;
    // A command whose user leaves ends with the connection.
    let _ = timeout(CLOSE_DEADLINE, session.socket.close(None)).await;
    let printed = session.printer.finish().await;
    drop(session.raw);
    match end {
        End::Exited(exit) => {
            printed.map_err(write_failure)?;
            Ok(match exit {
                // As the system has it: the lowest byte.
                Exit::Code(code) => (code & 0xff) as u8,
                Exit::Signal(signal) => by_signal(signal),
            })
        }
        End::Failed(problem) => Err((*problem).into()),
        End::Signalled(signal) => Ok(by_signal(signal)),
        End::Unwritable => Err(printed
            .err()
            .map_or_else(|| Failure::silent(ExitCode::Failed), write_failure)),
        End::Lost(reason) => {
            let message = format!("the connection to the master broke, which ends the command: {reason}");
            Err(Failure::new(ExitCode::Unreachable, message))
        }
    }
}

fn by_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

impl Session {
    async fn serve(&mut self, start: StartExec) -> End {
        if let Err(end) = self.send(ClientFrame::Start(start)).await {
            return end;
        }
        loop {
            if let Err(end) = self.step().await {
                return end;
            }
        }
    }

    async fn step(&mut self) -> Result<(), End> {
        let has_room = self.room >= LEAST_COST;
        let wants_input = has_room && self.unsent.is_empty();
        if has_room && !self.unsent.is_empty() {
            return self.send_input().await;
        }
        let Signals { resized, ends } = &mut self.signals;
        tokio::select! {
            biased;
            signal = next_end(ends) => Err(End::Signalled(signal)),
            message = self.socket.next() => match message {
                Some(Ok(message)) => self.hear(message),
                Some(Err(error)) => Err(End::Lost(error.to_string())),
                None => Err(End::Lost("it was closed without a word".to_owned())),
            },
            printed = self.printer.printed.recv() => match printed {
                Some(bytes) => self.send(ClientFrame::Taken(bytes)).await,
                None => Err(End::Unwritable),
            },
            Some(()) = resized.recv(), if self.has_terminal => {
                self.send(ClientFrame::Resize(terminal::size())).await
            }
            input = next(&mut self.input), if wants_input => match input {
                Some(bytes) => {
                    self.unsent = bytes;
                    Ok(())
                }
                None => {
                    self.input = None;
                    self.send(ClientFrame::StdinEnded).await
                }
            },
            _ = self.ticks.tick() => self.tick().await,
        }
    }

    async fn send_input(&mut self) -> Result<(), End> {
        let length = self.unsent.len().min(self.room as usize);
        let piece = self.unsent.split_to(length);
        self.room -= cost(length);
        self.send(ClientFrame::Stdin(piece)).await
    }

    fn hear(&mut self, message: Message) -> Result<(), End> {
        self.heard = Instant::now();
        let content = match message {
            Message::Binary(content) => content,
            Message::Close(_) => return Err(End::Lost("the master closed it without a word".to_owned())),
            _ => return Ok(()),
        };
        let lost = |error: &dyn std::fmt::Display| End::Lost(format!("the master is not understood: {error}"));
        match ServerFrame::decode(&content).map_err(|error| lost(&error))? {
            ServerFrame::Started => {
                if self.has_terminal {
                    self.raw = Raw::enter().map_err(|error| lost(&error))?;
                }
            }
            ServerFrame::Stdout(bytes) => self.printer.print(Piece::Output(bytes)),
            ServerFrame::Stderr(bytes) => self.printer.print(Piece::Error(bytes)),
            ServerFrame::Taken(bytes) => {
                let room = self.room.checked_add(bytes).filter(|room| *room <= WINDOW_BYTES);
                self.room = room.ok_or_else(|| lost(&"it takes more than was sent"))?;
            }
            ServerFrame::Exited(exit) => return Err(End::Exited(exit)),
            ServerFrame::Failed(problem) => return Err(End::Failed(Box::new(problem))),
        }
        Ok(())
    }

    async fn tick(&mut self) -> Result<(), End> {
        if self.heard.elapsed() >= SILENCE {
            return Err(End::Lost(format!("nothing was heard for {} s", SILENCE.as_secs())));
        }
        self.transmit(Message::Ping(Bytes::new())).await
    }

    async fn send(&mut self, frame: ClientFrame) -> Result<(), End> {
        self.transmit(Message::Binary(frame.encode())).await
    }

    async fn transmit(&mut self, message: Message) -> Result<(), End> {
        match timeout(SEND_DEADLINE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(error.to_string())),
            Err(_) => Err(End::Lost("the master takes nothing".to_owned())),
        }
    }
}

async fn next(input: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match input {
        Some(input) => input.recv().await,
        None => std::future::pending().await,
    }
}
