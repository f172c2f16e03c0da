//! The agent's end of the link.

mod attempts;
mod exchange;
mod handover;
mod hear;
mod holds;
mod lease;
mod link;
mod settings;
#[cfg(test)]
mod tests;
mod volumes;
mod waits;

use std::time::Duration;

use self::attempts::Attempts;
pub use self::exchange::{Action, Event};
use self::handover::Handover;
use self::holds::Holds;
use self::lease::Lease;
use self::link::Link;
pub use self::settings::Settings;
use self::volumes::Volumes;
use self::waits::Waits;
use super::{AgentFrame, AttemptReport, Error, Hello, Survey};
use crate::attempt::Phase;
use crate::id::AttemptId;
use crate::time::{Moment, Now};

/// The agent's end of the link, over all its connections. It lives as long as the agent's process.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    description: Hello,
    survey: Option<Box<Survey>>,
    attempts: Attempts,
    volumes: Volumes,
    waits: Waits,
    link: Link,
    lease: Lease,
    holds: Holds,
    handover: Handover,
    /// How long a lease lasts, as the master said last.
    lease_length: Duration,
}

impl Session {
    /// `description`: what hellos say (its attempts and volumes are those that were found; later hellos list the present ones). `recovered`: the attempts that
    /// were found on disk, which are not to be reported before the first hello lists them.
    pub fn new(settings: Settings, description: Hello, recovered: Vec<AttemptReport>) -> Self {
        let attempts = Attempts::new(settings.attempts, settings.forgotten, recovered);
        let volumes = Volumes::new(description.volumes.clone());
        Self {
            settings,
            description,
            survey: None,
            attempts,
            volumes,
            waits: Waits::default(),
            link: Link::Down,
            lease: Lease::default(),
            holds: Holds::default(),
            handover: Handover::default(),
            lease_length: Duration::ZERO,
        }
    }

    /// Says which of the attempts that were found have a command that ends with the lease. Before the first event.
    pub fn note_exclusive(&mut self, attempts: impl IntoIterator<Item = AttemptId>) {
        attempts.into_iter().for_each(|attempt| self.holds.add(attempt));
    }

    /// Takes in one event. Call it also when [`Self::deadline`] has come.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        let taken = self.take(now, event, &mut actions);
        if let Err(error) = taken.and_then(|()| self.tick(now.steady, &mut actions)) {
            self.link = Link::Down;
            actions.push(Action::Close(error));
        }
        let ordinary = self.lease.until().map(|until| (until, self.lease_length));
        let latest = ordinary.max(self.handover.granted());
        let length = latest.map_or(Duration::ZERO, |(_, length)| length);
        let holds = self.holds.extend(latest.map(|(until, _)| until));
        actions.extend(holds.map(|(attempt, until)| Action::Hold { attempt, until, length }));
        actions
    }

    fn take(&mut self, now: Now, event: Event, actions: &mut Vec<Action>) -> Result<(), Error> {
        match event {
            Event::Connected => {
                self.holds.reconnected();
                self.attempts.reconnected(&self.holds);
                self.volumes.reconnected();
                self.lease.disconnected();
                self.handover.disconnected();
                self.link = Link::Greeting {
                    first_at: now.steady,
                    again_at: now.steady,
                };
                Ok(())
            }
            Event::Disconnected => {
                self.link = Link::Down;
                Ok(())
            }
            Event::Frame(frame) => self.hear(now, frame, actions),
            Event::Progressed { attempt, phase } => {
                if phase.rank() >= Phase::BEGUN {
                    self.lease.confirmed(attempt);
                    self.waits(attempt, String::new(), actions);
                }
                if let Some(sequence) = self.attempts.progressed(attempt, phase) {
                    self.acknowledge(sequence, actions);
                }
                Ok(())
            }
            Event::Forgotten(attempt) => {
                self.waits.set(attempt, String::new());
                self.holds.remove(attempt);
                if let Some(sequence) = self.attempts.forgotten(attempt) {
                    self.acknowledge(sequence, actions);
                }
                Ok(())
            }
            Event::Holds(volume) => {
                if self.volumes.holds(volume, self.is_up()) {
                    actions.push(Action::Send(AgentFrame::Holds(volume)));
                }
                Ok(())
            }
            Event::Released(volume) => {
                if let Some(sequence) = self.volumes.released(volume) {
                    self.acknowledge(sequence, actions);
                }
                Ok(())
            }
            Event::Transfer(progress) => {
                self.say(AgentFrame::Progress(progress), actions);
                Ok(())
            }
            Event::Copied(copied) => {
                self.say(AgentFrame::Copied(copied), actions);
                Ok(())
            }
            Event::Surveyed(survey) => {
                self.surveyed(survey, actions);
                Ok(())
            }
            Event::Waits { attempt, reason } => {
                let goes_on = self.attempts.phase(attempt);
                if goes_on.is_some_and(|phase| !matches!(phase, Phase::Ended(_))) {
                    self.waits(attempt, reason, actions);
                }
                Ok(())
            }
            Event::HandOver => self.ask_for_handover(now.steady, actions),
            Event::Tick => Ok(()),
        }
    }

    /// When to call [`Self::handle`] with [`Event::Tick`], if nothing happens before.
    pub fn deadline(&self) -> Option<Moment> {
        match &self.link {
            Link::Down => None,
            Link::Greeting { first_at, again_at } => Some((*first_at + self.settings.welcome_timeout).min(*again_at)),
            Link::Up(up) => Some(up.deadline(&self.attempts)),
        }
    }

    /// Whether the agent may start commands: the master will not have given its attempts to others.
    pub fn lease_valid(&self, now: Moment) -> bool {
        self.lease.until().is_some_and(|until| now < until)
    }

    /// Until when the lease lasts; none before the first one is granted. It counts from when the acknowledged hello or
    /// heartbeat was sent; one that has lapsed is granted anew when the master has confirmed what has not begun.
    pub const fn lease_until(&self) -> Option<Moment> {
        self.lease.until()
    }

    /// How long a lease lasts, counted from when it was asked for; zero before the first one.
    pub const fn lease_length(&self) -> Duration {
        self.lease_length
    }

    /// Whether the master was asked for the handover lease, and has not answered yet.
    pub const fn awaits_handover(&self) -> bool {
        self.is_up() && self.handover.is_asked()
    }

    /// Whether it has granted it, for commands that end with their lease.
    pub fn holds_handover(&self) -> bool {
        self.handover.granted().is_some() && !self.holds.is_empty()
    }

    /// Whether hello and welcome were exchanged on the present connection.
    pub const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    fn ask_for_handover(&mut self, now: Moment, actions: &mut Vec<Action>) -> Result<(), Error> {
        if let Link::Up(up) = &self.link
            && self.attempts.has_any()
            && self.handover.ask(now, up.handover())
        {
            actions.push(Action::Send(AgentFrame::HandOver));
        }
        Ok(())
    }

    /// Says what may be lost.
    fn say(&self, frame: AgentFrame, actions: &mut Vec<Action>) {
        if self.is_up() {
            actions.push(Action::Send(frame));
        }
    }

    fn surveyed(&mut self, survey: Box<Survey>, actions: &mut Vec<Action>) {
        self.description.capacity = survey.capacity;
        self.description.facts.clone_from(&survey.facts);
        if self.is_up() {
            actions.push(Action::Send(AgentFrame::Survey(survey.clone())));
        }
        self.survey = Some(survey);
    }

    fn waits(&mut self, attempt: AttemptId, reason: String, actions: &mut Vec<Action>) {
        if let Some(frame) = self.waits.set(attempt, reason)
            && self.is_up()
        {
            actions.push(Action::Send(frame));
        }
    }

    fn acknowledge(&self, sequence: u64, actions: &mut Vec<Action>) {
        if self.is_up() {
            actions.push(Action::Send(AgentFrame::OrderAcknowledged { sequence }));
        }
    }

    /// Does what time asks for.
    fn tick(&mut self, now: Moment, actions: &mut Vec<Action>) -> Result<(), Error> {
        match &mut self.link {
            Link::Down => Ok(()),
            Link::Greeting { first_at, again_at } => {
                let timeout = self.settings.welcome_timeout;
                if now >= *first_at + timeout {
                    return Err(Error::WelcomeMissing(timeout));
                }
                if now >= *again_at {
                    *again_at = now + self.settings.hello_retry;
                    let hello = Hello {
                        attempts: self.attempts.reports(),
                        volumes: self.volumes.held(),
                        ..self.description.clone()
                    };
                    actions.push(Action::Send(AgentFrame::Hello(Box::new(hello))));
                }
                Ok(())
            }
            Link::Up(up) => up.tick(now, &mut self.attempts, &mut self.volumes, actions),
        }
    }
}
