//! The agent's end, event by event.

mod handover;
mod orders;
mod reports;
mod volumes;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Action, Event, Session, Settings};
use crate::attempt::{Assignment, BuildContext, GeneratedFile, Outcome, Phase, Revision};
use crate::build::{JobSpec, TerminalState};
use crate::id::{AttemptId, BuildId, Epoch, JobId, ProjectId, SessionId, TunnelId};
use crate::label::{Labels, Selector};
use crate::name::{ClusterName, JobName, ProjectName};
use crate::resources::Resources;
use crate::route::Cost;
use crate::session::{
    AgentFrame, AttemptReport, Error, Hello, MasterFrame, Nodes, OrderFrame, StopReason, Survey, Welcome,
};
use crate::time::{Moment, Now, Timestamp};

const HEARTBEAT: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(30);
const HANDOVER: Duration = Duration::from_secs(300);

fn now(seconds: u64) -> Now {
    Now {
        wall: Timestamp(seconds * 1000),
        steady: Moment(Duration::from_secs(seconds)),
    }
}

fn id(job: u128, epoch: u32) -> AttemptId {
    AttemptId {
        job: JobId::from_u128(job),
        epoch: Epoch(epoch),
    }
}

fn ended(state: TerminalState) -> Phase {
    Phase::Ended(Outcome {
        state,
        exit_code: None,
        message: String::new(),
        started_at: None,
        ended_at: Timestamp(0),
        output: None,
        cache: None,
        inputs: Vec::new(),
        lost_inputs: Vec::new(),
        lease_ended: false,
        lost: false,
        log_lines: 0,
        generated: None,
    })
}

fn running() -> Phase {
    Phase::Running {
        started_at: Timestamp(0),
        inputs: Vec::new(),
    }
}

fn assignment(attempt: AttemptId) -> Box<Assignment> {
    Box::new(Assignment {
        attempt,
        build: BuildContext {
            project: ProjectId::from_u128(1),
            project_name: ProjectName::new("p").unwrap(),
            build: BuildId::from_u128(1),
            number: 1,
            restarts: 0,
            public_url: String::new(),
            revision: Revision::default(),
            outcome: None,
        },
        job: JobSpec {
            name: JobName::new("j").unwrap(),
            image: String::new(),
            command: None,
            environment: BTreeMap::new(),
            secrets: Default::default(),
            timeout: Duration::from_secs(1),
            resources: Resources::default(),
            dependencies: Vec::new(),
            selector: Selector::default(),
            prefer: None,
            priority: 0,
            volumes: Default::default(),
            cache: false,
            pod: None,
            kind: Default::default(),
            source: true,
            needs: Default::default(),
            passes_on: Default::default(),
            confined_to: Default::default(),
            repository: None,
            extensions: None,
        },
        source: None,
        inputs: Vec::new(),
        parents: Vec::new(),
        labels: Labels::default(),
        volumes_together: Default::default(),
        waiting_per_hour: Cost::default(),
        cache: None,
    })
}

fn description() -> Hello {
    Hello {
        version: "1".to_owned(),
        capacity: Resources::default(),
        slots: 4,
        capabilities: Vec::new(),
        facts: Labels::new(),
        peer_address: None,
        volumes: Vec::new(),
        attempts: Vec::new(),
    }
}

fn welcome(session: u64) -> MasterFrame {
    MasterFrame::Welcome(Welcome {
        session: SessionId(session),
        cluster: ClusterName::new("east").unwrap(),
        heartbeat: HEARTBEAT,
        lease: LEASE,
        handover: HANDOVER,
    })
}

fn report(attempt: AttemptId, phase: Phase) -> AttemptReport {
    AttemptReport { attempt, phase }
}

fn sent_report(sequence: u64, attempt: AttemptId, phase: Phase) -> Action {
    Action::Send(AgentFrame::Report {
        sequence,
        attempt,
        phase,
    })
}

fn acknowledged(sequence: u64) -> Action {
    Action::Send(AgentFrame::OrderAcknowledged { sequence })
}

fn order(sequence: u64, order: OrderFrame) -> Event {
    Event::Frame(MasterFrame::Order { sequence, order })
}

fn assign(sequence: u64, attempt: AttemptId) -> Event {
    order(sequence, OrderFrame::Assign(assignment(attempt)))
}

fn stop(sequence: u64, attempt: AttemptId) -> Event {
    order(
        sequence,
        OrderFrame::Stop {
            attempt,
            reason: StopReason::Cancelled,
        },
    )
}

fn forget(sequence: u64, attempt: AttemptId) -> Event {
    order(sequence, OrderFrame::Forget(attempt))
}

fn progressed(attempt: AttemptId, phase: Phase) -> Event {
    Event::Progressed { attempt, phase }
}

fn down(settings: Settings, recovered: Vec<AttemptReport>) -> Session {
    Session::new(settings, description(), recovered)
}

fn up_with(settings: Settings, recovered: Vec<AttemptReport>) -> Session {
    let mut session = down(settings, recovered);
    session.handle(now(0), Event::Connected);
    session.handle(now(0), Event::Frame(welcome(1)));
    assert!(session.is_up());
    session
}

fn up() -> Session {
    up_with(Settings::default(), Vec::new())
}

fn listed(actions: &[Action]) -> Vec<AttemptReport> {
    let [Action::Send(AgentFrame::Hello(hello))] = actions else {
        panic!("not a hello: {actions:?}")
    };
    hello.attempts.clone()
}

#[test]
fn hello_lists_every_attempt_and_is_repeated_until_the_welcome() {
    let mut session = down(Settings::default(), vec![report(id(1, 2), Phase::Preparing)]);
    assert_eq!(session.deadline(), None);
    let hello = session.handle(now(0), Event::Connected);
    assert_eq!(listed(&hello), [report(id(1, 2), Phase::Preparing)]);
    assert_eq!(session.handle(now(1), progressed(id(1, 2), Phase::Publishing)), []);
    let hello = session.handle(now(3), Event::Tick);
    assert_eq!(listed(&hello), [report(id(1, 2), Phase::Publishing)]);
    // The first hello may be the one that was taken in, so what came after it is reported.
    let actions = session.handle(now(4), Event::Frame(welcome(1)));
    assert_eq!(actions, [sent_report(1, id(1, 2), Phase::Publishing)]);
}

#[test]
fn gives_up_without_a_welcome() {
    let mut session = down(Settings::default(), Vec::new());
    session.handle(now(0), Event::Connected);
    let timeout = Settings::default().welcome_timeout;
    assert_eq!(
        session.handle(now(10), Event::Tick),
        [Action::Close(Error::WelcomeMissing(timeout))]
    );
    assert_eq!(session.deadline(), None);
}

#[test]
fn unexpected_frames_close_the_connection() {
    let bad_lease = Welcome {
        session: SessionId(1),
        cluster: ClusterName::new("east").unwrap(),
        heartbeat: Duration::ZERO,
        lease: LEASE,
        handover: HANDOVER,
    };
    let greeting = || {
        let mut session = down(Settings::default(), Vec::new());
        session.handle(now(0), Event::Connected);
        session
    };
    for (name, mut session, event) in [
        ("order before welcome", greeting(), assign(1, id(1, 1))),
        (
            "heartbeat before welcome",
            greeting(),
            Event::Frame(MasterFrame::HeartbeatAcknowledged { sequence: 1 }),
        ),
        (
            "heartbeat interval of zero",
            greeting(),
            Event::Frame(MasterFrame::Welcome(bad_lease)),
        ),
        ("another welcome", up(), Event::Frame(welcome(2))),
        (
            "acknowledged heartbeat 1 of 0",
            up(),
            Event::Frame(MasterFrame::HeartbeatAcknowledged { sequence: 1 }),
        ),
        (
            "acknowledged report 1 of 0",
            up(),
            Event::Frame(MasterFrame::ReportAcknowledged { sequence: 1 }),
        ),
    ] {
        let actions = session.handle(now(1), event);
        assert!(
            matches!(actions[..], [Action::Close(Error::Unexpected { .. })]),
            "{name}: {actions:?}"
        );
        assert_eq!(
            session.handle(now(1), assign(2, id(2, 1))),
            [],
            "{name}: what comes after the end is ignored"
        );
    }
}
