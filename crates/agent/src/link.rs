//! The link to the master: connects, drives this end of the session (`tombolo_core::session::agent`), and connects again.
//!
//! The rules are the session's; here are sockets and time. It runs on a connection of its own, so that nothing large can hold
//! up a heartbeat.

mod connection;
mod lease;
mod leave;
mod renewal;

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tombolo_core::id::{AttemptId, TunnelId};
use tombolo_core::session::agent::{Action, Event, Session, Settings};
use tombolo_core::session::{AttemptReport, Hello};
use tombolo_core::time::{Moment, Now, Timestamp};
use tombolo_identity::tls::{Distrust, Identity};
use tombolo_identity::transport::{Address, Proxy};
use tombolo_runtime::clock;

use self::connection::{Connection, Failure, connect};
use crate::pauses::Pauses;
use crate::seam::{Instruction, Notice};

use self::leave::Leaving;
pub use lease::{Granted, Lease};
pub use leave::Leave;
pub use renewal::renew;

/// The first and the longest pause before connecting again. Short, so that agents are back soon after the master; with jitter,
/// so that they do not come all at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The pause after the master has refused this cluster: only people can change that.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// The pause after another agent with the same identity has taken this one's place: throwing each other out helps nobody.
const REPLACED_PAUSE: Duration = Duration::from_secs(30);

/// How to reach the master.
#[derive(Debug, Clone)]
pub struct Master {
    /// Who this cluster is.
    pub identity: Identity,
    /// Where the master is, in the order to try.
    pub addresses: Vec<Address>,
    /// The way out.
    pub proxy: Proxy,
}

/// The ends of the channels that the link reads and writes.
#[derive(Debug)]
pub struct Ends {
    /// From the attempts.
    pub notices: mpsc::Receiver<Notice>,
    /// To the attempts.
    pub instructions: mpsc::Sender<Instruction>,
    /// Tunnels that are to be accepted. An offer that finds no room is dropped: whoever wants it tries again.
    pub offers: mpsc::Sender<TunnelId>,
}

/// The link. It lives as long as the process.
pub struct Link {
    master: Master,
    session: Session,
    ends: Ends,
    /// The lease that the attempts were told last.
    granted: Option<Granted>,
    state: State,
    pauses: Pauses,
    leaving: Leaving,
    /// What the attempts have not taken yet. Nothing is read from the master while there is some, so that there are few.
    waiting: VecDeque<Instruction>,
}

enum State {
    Connecting(BoxFuture<'static, Result<Connection, Failure>>),
    Connected(Box<Connection>),
}

/// What happened next.
enum Happened {
    Dialled(Result<Connection, Failure>),
    Event(Event),
    Lost(Failure),
    Delivered,
    Stopping,
}

impl Link {
    /// A link that has not connected yet. `description` is what hellos say, `recovered` what was found on disk.
    pub fn new(
        master: Master,
        settings: Settings,
        description: Hello,
        recovered: Vec<AttemptReport>,
        ends: Ends,
    ) -> Self {
        let dialling = connect(master.clone(), Duration::ZERO).boxed();
        Self {
            master,
            session: Session::new(settings, description, recovered),
            ends,
            granted: None,
            state: State::Connecting(dialling),
            pauses: Pauses::new(PAUSES),
            leaving: Leaving::default(),
            waiting: VecDeque::new(),
        }
    }

    /// Says which of the attempts that were found have a command that ends with the lease.
    #[must_use]
    pub fn with_exclusive(mut self, attempts: impl IntoIterator<Item = AttemptId>) -> Self {
        self.session.note_exclusive(attempts);
        self
    }

    /// Asks the master for the handover lease when `leave` says so, and says there when nothing more is to be waited for.
    #[must_use]
    pub fn with_leave(mut self, leave: Leave) -> Self {
        self.leaving = Leaving::when(leave);
        self
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// If the attempts are gone.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            self.leaving.look(&self.session, self.waiting.is_empty(), now().steady);
            let event = match self.next(&stop).await? {
                Happened::Stopping => return Ok(()),
                Happened::Delivered => continue,
                Happened::Event(event) => event,
                Happened::Dialled(Ok(connection)) => {
                    self.state = State::Connected(Box::new(connection));
                    Event::Connected
                }
                Happened::Dialled(Err(failure)) => {
                    self.reconnect(&failure);
                    continue;
                }
                Happened::Lost(failure) => {
                    self.reconnect(&failure);
                    Event::Disconnected
                }
            };
            if matches!(event, Event::HandOver) {
                self.leaving.begin(now().steady);
            }
            self.take(event).await;
        }
    }

    async fn next(&mut self, stop: &CancellationToken) -> anyhow::Result<Happened> {
        let deadline = self.session.deadline();
        let blocked = !self.waiting.is_empty();
        let connection = async {
            match &mut self.state {
                State::Connecting(dialling) => Happened::Dialled(dialling.await),
                // What the attempts have not taken holds up the master.
                State::Connected(_) if blocked => std::future::pending().await,
                State::Connected(connection) => match connection.receive().await {
                    Ok(frame) => Happened::Event(Event::Frame(frame)),
                    Err(failure) => Happened::Lost(failure),
                },
            }
        };
        tokio::select! {
            happened = connection => Ok(happened),
            room = self.ends.instructions.reserve(), if blocked => {
                let room = room.map_err(|_| anyhow::anyhow!("nobody takes instructions any more"))?;
                if let Some(instruction) = self.waiting.pop_front() {
                    room.send(instruction);
                }
                Ok(Happened::Delivered)
            }
            notice = self.ends.notices.recv() => match notice {
                Some(notice) => Ok(Happened::Event(event(notice))),
                None if stop.is_cancelled() => Ok(Happened::Stopping),
                None => anyhow::bail!("nobody gives notice any more"),
            },
            () = until(deadline) => Ok(Happened::Event(Event::Tick)),
            () = self.leaving.due() => Ok(Happened::Event(Event::HandOver)),
            () = stop.cancelled() => Ok(Happened::Stopping),
        }
    }

    async fn take(&mut self, event: Event) {
        let actions = self.session.handle(now(), event);
        if self.session.is_up() {
            self.pauses.reset();
        }
        let mut lost = None;
        for action in actions {
            match action {
                Action::Send(frame) => {
                    if let State::Connected(connection) = &self.state
                        && lost.is_none()
                    {
                        lost = connection.send(frame).await.err();
                    }
                }
                Action::Start(assignment) => self.waiting.push_back(Instruction::Start(assignment)),
                Action::Stop { attempt, reason } => self.waiting.push_back(Instruction::Stop { attempt, reason }),
                Action::Forget(attempt) => self.waiting.push_back(Instruction::Forget(attempt)),
                Action::Hold { attempt, until, length } => {
                    let lease = Granted { until: until.0, length };
                    self.waiting.push_back(Instruction::Hold { attempt, lease });
                }
                Action::Release(volume) => self.waiting.push_back(Instruction::Release(volume)),
                Action::Prefetch(prefetch) => self.waiting.push_back(Instruction::Prefetch(prefetch)),
                Action::AcceptTunnel(tunnel) => {
                    if self.ends.offers.try_send(tunnel).is_err() {
                        tracing::warn!(%tunnel, "tunnel not taken: too many are offered");
                    }
                }
                Action::Close(error) => {
                    self.reconnect(&Failure::Lost(error.to_string()));
                    return;
                }
            }
        }
        self.tell_lease();
        if let Some(failure) = lost {
            self.reconnect(&failure);
            self.session.handle(now(), Event::Disconnected);
        }
    }

    /// Tells the attempts of a lease that they do not know, after all that goes before it.
    fn tell_lease(&mut self) {
        let granted = self.session.lease_until().map(|until| Granted {
            until: until.0,
            length: self.session.lease_length(),
        });
        if let Some(lease) = granted.filter(|_| granted != self.granted) {
            self.granted = granted;
            self.waiting.push_back(Instruction::Lease(lease));
        }
    }

    fn reconnect(&mut self, failure: &Failure) {
        let pause = match failure {
            Failure::Refused(reason) => {
                tracing::warn!(
                    reason,
                    "the master refuses this cluster; if it was removed, end this agent or join again with a new invite"
                );
                REFUSED_PAUSE
            }
            Failure::Replaced(reason) => {
                tracing::error!(
                    reason,
                    pause = ?REPLACED_PAUSE,
                    "this agent's identity is used twice: end one of the two agents, and invite a cluster of its own for it"
                );
                REPLACED_PAUSE
            }
            Failure::Distrusted(distrust) => {
                let reason = match distrust {
                    Distrust::OfUs => {
                        "the master does not know the certificate authority that this cluster's certificate is of"
                    }
                    Distrust::OfPeer => {
                        "the master's certificate is of a certificate authority that this cluster does not know"
                    }
                };
                let pause = self.pauses.next();
                tracing::error!(
                    reason,
                    ?pause,
                    "the authority was replaced while this cluster was away, or this is not its master; if it was replaced, the cluster has to join again: \
                     `tombolo cluster remove NAME --force`, `tombolo cluster invite NAME`, and start this agent with the invite (TOMBOLO_AGENT_INVITE)"
                );
                pause
            }
            Failure::Lost(reason) => {
                let pause = self.pauses.next();
                tracing::warn!(reason, ?pause, "no connection to the master");
                pause
            }
        };
        self.state = State::Connecting(connect(self.master.clone(), pause).boxed());
    }
}

fn event(notice: Notice) -> Event {
    match notice {
        Notice::Progressed { attempt, phase } => Event::Progressed { attempt, phase },
        Notice::Forgotten(attempt) => Event::Forgotten(attempt),
        Notice::Holds(volume) => Event::Holds(volume),
        Notice::Released(volume) => Event::Released(volume),
        Notice::Transfer(progress) => Event::Transfer(progress),
        Notice::Surveyed(survey) => Event::Surveyed(survey),
        Notice::Waits { attempt, reason } => Event::Waits { attempt, reason },
        Notice::Copied(copied) => Event::Copied(copied),
    }
}

fn now() -> Now {
    let reading = clock::now();
    Now {
        wall: Timestamp(reading.wall_milliseconds),
        steady: Moment(reading.steady),
    }
}

async fn until(deadline: Option<Moment>) {
    match deadline {
        Some(deadline) => sleep(deadline.since(now().steady)).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
