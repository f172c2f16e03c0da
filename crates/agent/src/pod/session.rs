//! The courier's own stream to the agent: what happens in the pod, and what is to happen.

mod log;

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_proto::courier::v1::order::Order;
use tombolo_proto::courier::v1::report::Report;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use self::log::Log;
use super::attend::Attendants;
use super::observer::{Seen, Wish};
use crate::executor::Urgency;
use crate::folder::AttemptFolder;
use crate::pauses::Pauses;

/// Reports that wait to be sent; more make the session wait. One MiB.
const OUTGOING_REPORTS: usize = 4;
/// How long the agent may take to begin, to take a report, and to acknowledge lines.
const DEADLINE: Duration = Duration::from_secs(30);
/// The pauses before a session that broke is opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Shows the token.
#[derive(Clone)]
pub(super) struct Authorized(pub(super) HeaderValue);

impl Interceptor for Authorized {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = self.0.as_bytes().try_into();
        let value = value.map_err(|_| Status::internal("the token is not ASCII"))?;
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    #[error("the agent did not {0} in time")]
    Late(&'static str),
    #[error("the session ended")]
    Ended,
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// The courier's end of all sessions, one after the other.
pub(super) struct Session {
    client: CourierClient<InterceptedService<Channel, Authorized>>,
    seen: watch::Receiver<Seen>,
    wish: watch::Sender<Wish>,
    /// Whether the present session has been told of the command's end.
    reported: watch::Sender<bool>,
    log: Log,
    attendants: Attendants,
    /// The log cannot be read: no more lines are to be expected.
    unreadable: bool,
}

/// What the present session has been told.
#[derive(Default)]
struct Told {
    staged: bool,
    started: bool,
    exited: bool,
}

impl Session {
    pub(super) fn new(
        agent: Channel,
        authorization: HeaderValue,
        folder: &AttemptFolder,
        seen: watch::Receiver<Seen>,
        wish: watch::Sender<Wish>,
        attendants: Attendants,
    ) -> Self {
        Self {
            attendants,
            client: CourierClient::with_interceptor(agent, Authorized(authorization)),
            seen,
            wish,
            reported: watch::channel(false).0,
            log: Log::new(folder.log()),
            unreadable: false,
        }
    }

    pub(super) fn reported(&self) -> watch::Receiver<bool> {
        self.reported.subscribe()
    }

    /// For ever: what ends a courier is its supervisor.
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::new(PAUSES);
        loop {
            self.log.restart();
            self.reported.send_replace(false);
            let (error, was_of_use) = self.attend().await;
            if was_of_use {
                pauses.reset();
            }
            let pause = pauses.next();
            tracing::warn!(%error, ?pause, "the session with the agent broke");
            sleep(pause).await;
        }
    }

    /// One session, until it breaks: why, and whether the agent had said anything.
    async fn attend(&mut self) -> (Error, bool) {
        let (outgoing, reports) = mpsc::channel(OUTGOING_REPORTS);
        let opening = timeout(DEADLINE, self.client.session(ReceiverStream::new(reports))).await;
        let mut incoming = match opening {
            Ok(Ok(orders)) => orders.into_inner(),
            Ok(Err(status)) => return (status.into(), false),
            Err(_) => return (Error::Late("begin"), false),
        };
        let mut told = Told::default();
        loop {
            if let Err(error) = self.report(&outgoing, &mut told).await {
                return (error, true);
            }
            if let Err(error) = self.listen(&mut incoming).await {
                return (error, true);
            }
        }
    }

    /// Tells what there is to tell.
    async fn report(&mut self, outgoing: &mpsc::Sender<wire::Report>, told: &mut Told) -> Result<(), Error> {
        let seen = self.seen.borrow_and_update().clone();
        if seen.staged && !told.staged {
            send(outgoing, Report::Staged(wire::Staged {})).await?;
            told.staged = true;
        }
        if let Some(started_at) = seen.started_at.filter(|_| !told.started) {
            let started_at = started_at.0;
            send(outgoing, Report::Started(wire::Started { started_at })).await?;
            told.started = true;
        }
        let drained = self.report_lines(outgoing).await?;
        if let Some(exit) = seen.exit.filter(|_| drained && !told.exited) {
            send(outgoing, Report::Exited(exited(&exit))).await?;
            told.exited = true;
            self.reported.send_replace(true);
        }
        Ok(())
    }

    /// Sends lines as far as there is room. Whether the agent has all of them that there are.
    async fn report_lines(&mut self, outgoing: &mpsc::Sender<wire::Report>) -> Result<bool, Error> {
        while self.log.has_room() && !self.unreadable {
            match self.log.next_batch().await {
                Ok(Some(batch)) => {
                    let lines = batch.lines.into_iter().map(|line| wire::Line {
                        at: line.at.0,
                        text: line.text,
                    });
                    let lines = wire::Lines {
                        first_line: batch.first_line,
                        lines: lines.collect(),
                    };
                    send(outgoing, Report::Lines(lines)).await?;
                }
                Ok(None) => return Ok(self.log.is_idle()),
                Err(error) => {
                    tracing::error!(%error, "the log cannot be read; what follows in it is lost");
                    self.unreadable = true;
                }
            }
        }
        Ok(self.unreadable)
    }

    /// Until an order has been taken or something is new in the pod.
    async fn listen(&mut self, incoming: &mut Streaming<wire::Order>) -> Result<(), Error> {
        let late = self.log.waiting_since().map(|since| since + DEADLINE);
        tokio::select! {
            order = incoming.message() => {
                let order = order?.ok_or(Error::Ended)?;
                self.obey(order.order);
                Ok(())
            }
            Ok(()) = self.seen.changed() => Ok(()),
            () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => Err(Error::Late("acknowledge lines")),
        }
    }

    fn obey(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Begin(wire::Begin { exclusive })) => {
                self.wish.send_if_modified(|wish| {
                    wish.exclusive = exclusive;
                    !std::mem::replace(&mut wish.begin, true)
                });
            }
            Some(Order::Stop(wire::Stop { immediately })) => self.wish.send_modify(|wish| {
                if immediately || wish.stop.is_none() {
                    wish.stop = Some(if immediately {
                        Urgency::Immediate
                    } else {
                        Urgency::Graceful
                    });
                }
            }),
            Some(Order::Acknowledged(wire::Acknowledged { next_line })) => self.log.acknowledged(next_line),
            Some(Order::Enter(wire::Enter { session })) => self.attendants.attend(session),
            None => tracing::warn!("the agent gives an order that this courier does not know"),
        }
    }
}

async fn send(outgoing: &mpsc::Sender<wire::Report>, report: Report) -> Result<(), Error> {
    let report = wire::Report { report: Some(report) };
    match timeout(DEADLINE, outgoing.send(report)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Error::Ended),
        Err(_) => Err(Error::Late("take a report")),
    }
}

fn exited(exit: &Bytes) -> wire::Exited {
    wire::Exited { exit: exit.to_vec() }
}
