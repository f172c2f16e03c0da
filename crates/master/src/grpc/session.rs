//! Drives the master's end of one agent's session: sockets and time on one side, the driver on the other, and the rules of the
//! link (`tombolo_core::session`) between.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tombolo_core::attempt::Phase;
use tombolo_core::control::{Command, Refusal};
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_core::session::master::{Action, Event, Session, Ticket};
use tombolo_core::session::{AgentFrame, Error, MasterFrame, OrderFrame};
use tombolo_core::time::Moment;
use tombolo_proto::agent::v1 as wire;
use tonic::{Status, Streaming};

use super::Services;
use super::control::Outgoing;
use super::generated::Reader;
use super::membership::leads_no_more;
use super::offers::Registration;
use crate::driver::ApplyError;

/// How long an agent may take to read a frame when those before fill its windows.
const SEND_DEADLINE: Duration = Duration::from_secs(30);

/// How long the control plane is given to hear that a session is over. If it does not, the lease tells it.
const DISCONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// One call of `Control/Session`.
pub(super) struct Link {
    pub(super) cluster: ClusterName,
    pub(super) incoming: Streaming<wire::AgentFrame>,
    pub(super) outgoing: mpsc::Sender<Outgoing>,
}

/// What came of a command.
type Applied = (Ticket, Result<Outcome, ApplyError>);

enum Outcome {
    /// With the attempt that is over by it.
    Done(Option<AttemptId>),
    Connected(mpsc::Receiver<OrderFrame>),
}

/// Runs until either end closes.
pub(super) async fn run(services: Services, link: Link) {
    let cluster = link.cluster.clone();
    let session = services.handle.next_session();
    let now = services.clock.now().steady;
    let mut running = Running {
        machine: Session::new(services.session.clone(), cluster.clone(), session, now),
        services,
        link,
        orders: None,
        offers: None,
        applying: FuturesUnordered::new(),
        connected: false,
    };
    let status = running.go().await;
    tracing::info!(%cluster, session = session.0, reason = status.message(), "session over");
    let Running {
        services,
        link,
        connected,
        offers,
        ..
    } = running;
    drop(offers);
    // The agent may be gone already, and then need not be told.
    let _ = link.outgoing.try_send(Err(status));
    if connected {
        let disconnect = services.handle.apply(Command::Disconnect {
            cluster: cluster.clone(),
            session,
        });
        match tokio::time::timeout(DISCONNECT_DEADLINE, disconnect).await {
            // A session that another has replaced is not there to be ended.
            Ok(Ok(_) | Err(ApplyError::Refused(_) | ApplyError::Stopping)) => {}
            Ok(Err(error)) => tracing::warn!(%cluster, %error, "the end of a session was not taken in"),
            Err(_) => tracing::warn!(%cluster, "the end of a session was not taken in in time"),
        }
    }
}

struct Running {
    services: Services,
    link: Link,
    machine: Session,
    orders: Option<mpsc::Receiver<OrderFrame>>,
    offers: Option<Registration>,
    /// Bounded by the machine's own limits on what waits for the control plane.
    applying: FuturesUnordered<BoxFuture<'static, Applied>>,
    connected: bool,
}

/// What happened next.
enum Happened {
    Frame(Result<Option<wire::AgentFrame>, Status>),
    Applied(Applied),
    Order(Option<OrderFrame>),
    Event(Event),
    Stopping,
}

impl Running {
    /// The reason for the end, as the agent is told.
    async fn go(&mut self) -> Status {
        loop {
            let happened = self.next().await;
            if matches!(happened, Happened::Order(None)) {
                return self.replaced().await;
            }
            let event = match self.event(happened) {
                Ok(event) => event,
                Err(status) => return status,
            };
            let now = self.services.clock.now().steady;
            for action in self.machine.handle(now, event) {
                if let Err(status) = self.perform(action).await {
                    return status;
                }
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let deadline = self.machine.deadline();
        let now = self.services.clock.now().steady;
        let orders = async {
            match &mut self.orders {
                Some(orders) => orders.recv().await,
                None => std::future::pending().await,
            }
        };
        let offers = async {
            match &mut self.offers {
                Some(offers) => offers.receiver.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            frame = self.link.incoming.message() => Happened::Frame(frame),
            Some(applied) = self.applying.next(), if !self.applying.is_empty() => Happened::Applied(applied),
            order = orders => Happened::Order(order),
            Some(tunnel) = offers => Happened::Event(Event::OfferTunnel(tunnel)),
            () = until(deadline, now) => Happened::Event(Event::Tick),
            () = self.services.stopping.cancelled() => Happened::Stopping,
        }
    }

    /// What happened as the machine hears it, or why the session ends.
    fn event(&mut self, happened: Happened) -> Result<Event, Status> {
        match happened {
            Happened::Frame(Ok(Some(frame))) => Ok(Event::Frame(AgentFrame::try_from(frame)?)),
            Happened::Frame(Ok(None)) => Err(Status::cancelled("the agent closed the session")),
            Happened::Frame(Err(status)) => Err(status),
            Happened::Applied((ticket, result)) => self.applied(ticket, result),
            Happened::Order(Some(order)) => Ok(Event::Order(order)),
            Happened::Order(None) => Err(begin_anew()),
            Happened::Event(event) => Ok(event),
            Happened::Stopping => Err(Status::unavailable("the master is stopping")),
        }
    }

    /// Why no orders come any more. An agent that is told of another one knows that it is not the only one of its name: its own
    /// new connection it would have opened after it gave this one up.
    async fn replaced(&mut self) -> Status {
        let (cluster, own) = (self.link.cluster.clone(), self.machine.id());
        let present = self
            .services
            .handle
            .query(move |control| control.cluster(&cluster)?.session);
        match present.await {
            Ok(Some(present)) if present != own => {
                let cluster = &self.link.cluster;
                tracing::warn!(%cluster, "two agents with the same identity: the later one takes the earlier one's place");
                Status::already_exists(format!("another agent has connected as cluster {cluster}"))
            }
            _ => begin_anew(),
        }
    }

    fn applied(&mut self, ticket: Ticket, result: Result<Outcome, ApplyError>) -> Result<Event, Status> {
        let result = match result {
            Ok(Outcome::Connected(orders)) => {
                self.connected = true;
                self.orders = Some(orders);
                self.offers = Some(
                    self.services
                        .offers
                        .register(self.link.cluster.clone(), self.machine.id()),
                );
                Ok(())
            }
            Ok(Outcome::Done(ended)) => {
                if let Some(attempt) = ended {
                    self.services.seal(attempt);
                }
                Ok(())
            }
            Err(ApplyError::Refused(refusal)) => Err(refusal),
            // The report stays without an answer, and the agent repeats it.
            Err(error @ ApplyError::Overloaded) if matches!(ticket, Ticket::Report { .. }) => {
                Err(Refusal::Limit(error.to_string()))
            }
            Err(error) => return Err(Status::unavailable(error.to_string())),
        };
        Ok(Event::Applied { ticket, result })
    }

    async fn perform(&mut self, action: Action) -> Result<(), Status> {
        match action {
            Action::Send(frame) => self.send(frame).await,
            Action::Apply { ticket, command } => {
                self.apply(ticket, command);
                Ok(())
            }
            Action::Tell(command) => {
                self.services.handle.tell(command);
                Ok(())
            }
            Action::Progress(progress) => {
                self.services.handle.progress(self.link.cluster.clone(), progress);
                Ok(())
            }
            Action::Close(error) => Err(closing(&error)),
        }
    }

    fn apply(&self, ticket: Ticket, command: Command) {
        let handle = self.services.handle.clone();
        let reader = Reader::new(&self.services);
        let applying = async move {
            let command = match reader.complete(command).await {
                Ok(command) => command,
                Err(error) => return (ticket, Err(error)),
            };
            let ended = match &command {
                Command::Report {
                    attempt,
                    phase: Phase::Ended(_),
                    ..
                } => Some(*attempt),
                _ => None,
            };
            let result = match command {
                Command::Connect {
                    cluster,
                    session,
                    hello,
                } => handle.connect(cluster, session, hello).await.map(Outcome::Connected),
                command => handle.apply(command).await.map(|_| Outcome::Done(ended)),
            };
            (ticket, result)
        };
        self.applying.push(applying.boxed());
    }

    /// Whether the master leads is asked for each frame, after what it answers was received: an agent counts its lease from when it
    /// sent that, so that the next leader, who counts from its own beginning, ends it no sooner.
    async fn send(&mut self, frame: MasterFrame) -> Result<(), Status> {
        if !self.services.tenure.holds() {
            return Err(leads_no_more());
        }
        let frame = Box::new(wire::MasterFrame::from(frame));
        // There is room nearly always, and then nobody has to look at the clock.
        let frame = match self.link.outgoing.try_send(Ok(frame)) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Status::cancelled("the agent closed the session")),
            Err(TrySendError::Full(frame)) => frame,
        };
        match tokio::time::timeout(SEND_DEADLINE, self.link.outgoing.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the agent closed the session")),
            Err(_) => Err(Status::aborted("the agent reads too slowly")),
        }
    }
}

fn begin_anew() -> Status {
    Status::aborted("the master begins the session anew")
}

fn closing(error: &Error) -> Status {
    match error {
        Error::Refused(Refusal::NotFound { .. }) => Status::permission_denied(error.to_string()),
        error => Status::aborted(error.to_string()),
    }
}

async fn until(deadline: Option<Moment>, now: Moment) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(now)).await,
        None => std::future::pending().await,
    }
}
