//! The agent's end, event by event.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Action, Event, Session, Settings};
use crate::attempt::{Assignment, BuildContext, Outcome, Phase, Revision};
use crate::build::{JobSpec, TerminalState};
use crate::id::{AttemptId, BuildId, Epoch, JobId, ProjectId, SessionId, TunnelId};
use crate::label::{Labels, Selector};
use crate::name::{ClusterName, JobName, ProjectName};
use crate::resources::Resources;
use crate::session::{AgentFrame, AttemptReport, Error, Hello, MasterFrame, OrderFrame, StopReason, Welcome};
use crate::time::{Moment, Now, Timestamp};

const HEARTBEAT: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(30);

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
        inputs: Vec::new(),
        log_lines: 0,
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
        },
        job: JobSpec {
            name: JobName::new("j").unwrap(),
            image: String::new(),
            command: None,
            environment: BTreeMap::new(),
            timeout: Duration::from_secs(1),
            resources: Resources::default(),
            dependencies: Vec::new(),
            selector: Selector::default(),
            prefer: None,
        },
        source: None,
        inputs: Vec::new(),
        parents: Vec::new(),
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
        attempts: Vec::new(),
    }
}

fn welcome(session: u64) -> MasterFrame {
    MasterFrame::Welcome(Welcome {
        session: SessionId(session),
        cluster: ClusterName::new("east").unwrap(),
        heartbeat: HEARTBEAT,
        lease: LEASE,
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

#[test]
fn assignment_is_acknowledged_when_durable_and_started_once() {
    let mut session = up();
    let attempt = id(1, 1);
    assert_eq!(
        session.handle(now(1), assign(1, attempt)),
        [Action::Start(assignment(attempt))]
    );
    assert_eq!(session.handle(now(1), assign(1, attempt)), []);
    let accepted = session.handle(now(2), progressed(attempt, Phase::Accepted));
    assert_eq!(accepted, [acknowledged(1), sent_report(1, attempt, Phase::Accepted)]);
    assert_eq!(session.handle(now(2), assign(1, attempt)), [acknowledged(1)]);
}

#[test]
fn assignment_survives_a_broken_connection() {
    let mut session = up();
    let attempt = id(1, 1);
    session.handle(now(1), assign(7, attempt));
    session.handle(now(1), Event::Disconnected);
    assert_eq!(
        listed(&session.handle(now(1), Event::Connected)),
        [],
        "it is not durable yet"
    );
    session.handle(now(1), Event::Frame(welcome(2)));
    assert_eq!(
        session.handle(now(1), assign(1, attempt)),
        [],
        "known, and not durable yet"
    );
    let accepted = session.handle(now(2), progressed(attempt, Phase::Accepted));
    assert_eq!(accepted, [acknowledged(1), sent_report(1, attempt, Phase::Accepted)]);
}

#[test]
fn stale_assignments_are_acknowledged_and_not_started() {
    for (name, before) in [
        ("a later attempt is here", vec![assign(1, id(1, 2))]),
        ("it was forgotten", vec![forget(1, id(1, 1))]),
        ("a later one was forgotten", vec![forget(1, id(1, 2))]),
        ("it was stopped", vec![stop(1, id(1, 1))]),
    ] {
        let mut session = up();
        for event in before {
            session.handle(now(1), event);
        }
        assert_eq!(session.handle(now(1), assign(2, id(1, 1))), [acknowledged(2)], "{name}");
    }
}

#[test]
fn later_epoch_is_started_beside_the_earlier() {
    let mut session = up_with(Settings::default(), vec![report(id(1, 1), Phase::Preparing)]);
    assert_eq!(
        session.handle(now(1), assign(1, id(1, 2))),
        [Action::Start(assignment(id(1, 2)))]
    );
}

#[test]
fn stop_of_an_unknown_attempt_ends_it_here() {
    let mut session = up();
    let actions = session.handle(now(1), stop(1, id(1, 1)));
    let [
        ack,
        Action::Send(AgentFrame::Report {
            sequence: 1,
            phase: Phase::Ended(outcome),
            ..
        }),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (ack, outcome.state, outcome.ended_at),
        (&acknowledged(1), TerminalState::Killed, Timestamp(1000))
    );
    // There is nothing to remove.
    assert_eq!(session.handle(now(1), forget(2, id(1, 1))), [acknowledged(2)]);
    assert_eq!(session.handle(now(1), assign(3, id(1, 1))), [acknowledged(3)]);
}

#[test]
fn stop_reaches_the_executor_once() {
    let mut session = up();
    session.handle(now(1), assign(1, id(1, 1)));
    let reason = StopReason::Cancelled;
    let told = [
        Action::Stop {
            attempt: id(1, 1),
            reason,
        },
        acknowledged(2),
    ];
    assert_eq!(session.handle(now(1), stop(2, id(1, 1))), told);
    assert_eq!(session.handle(now(1), stop(2, id(1, 1))), [acknowledged(2)]);
    session.handle(now(2), progressed(id(1, 1), ended(TerminalState::Killed)));
    assert_eq!(session.handle(now(2), stop(3, id(1, 1))), [acknowledged(3)]);
}

#[test]
fn forget_is_acknowledged_when_done() {
    let mut session = up_with(
        Settings::default(),
        vec![report(id(1, 1), ended(TerminalState::Finished))],
    );
    assert_eq!(session.handle(now(1), forget(1, id(1, 1))), [Action::Forget(id(1, 1))]);
    assert_eq!(session.handle(now(1), forget(1, id(1, 1))), []);
    assert_eq!(
        session.handle(now(1), progressed(id(1, 1), ended(TerminalState::Error))),
        [],
        "nothing is said of it"
    );
    assert_eq!(session.handle(now(2), Event::Forgotten(id(1, 1))), [acknowledged(1)]);
    assert_eq!(
        session.handle(now(2), forget(1, id(1, 1))),
        [acknowledged(1)],
        "forgotten twice is forgotten"
    );
    session.handle(now(3), Event::Disconnected);
    assert_eq!(listed(&session.handle(now(3), Event::Connected)), []);
}

#[test]
fn forgotten_memory_is_bounded() {
    let mut session = up_with(
        Settings {
            forgotten: 2,
            ..Settings::default()
        },
        Vec::new(),
    );
    for job in 1..=3 {
        session.handle(now(1), forget(job, id(u128::from(job), 1)));
    }
    assert_eq!(session.handle(now(1), assign(4, id(3, 1))), [acknowledged(4)]);
    assert_eq!(session.handle(now(1), assign(5, id(2, 1))), [acknowledged(5)]);
    assert_eq!(
        session.handle(now(1), assign(6, id(1, 1))),
        [Action::Start(assignment(id(1, 1)))]
    );
}

#[test]
fn attempts_are_bounded() {
    let settings = Settings {
        attempts: 1,
        ..Settings::default()
    };
    let mut session = up_with(settings, vec![report(id(1, 1), Phase::Preparing)]);
    assert_eq!(session.handle(now(1), assign(1, id(2, 1))), [], "left for later");
    session.handle(now(1), forget(2, id(1, 1)));
    session.handle(now(1), Event::Forgotten(id(1, 1)));
    assert_eq!(
        session.handle(now(1), assign(1, id(2, 1))),
        [Action::Start(assignment(id(2, 1)))]
    );
}

#[test]
fn reports_are_repeated_until_acknowledged_and_only_the_newest() {
    let mut session = up_with(Settings::default(), vec![report(id(1, 1), running())]);
    let first = session.handle(now(1), progressed(id(1, 1), Phase::Publishing));
    assert_eq!(first, [sent_report(1, id(1, 1), Phase::Publishing)]);
    assert_eq!(
        session.handle(now(1), progressed(id(1, 1), Phase::Accepted)),
        [],
        "an earlier phase"
    );
    assert_eq!(
        session.handle(now(4), Event::Tick),
        [sent_report(1, id(1, 1), Phase::Publishing)]
    );
    let last = session.handle(now(4), progressed(id(1, 1), ended(TerminalState::Finished)));
    assert_eq!(last, [sent_report(2, id(1, 1), ended(TerminalState::Finished))]);
    let again = session.handle(now(7), Event::Tick);
    let heartbeat = Action::Send(AgentFrame::Heartbeat { sequence: 1 });
    let wanted = [heartbeat, sent_report(2, id(1, 1), ended(TerminalState::Finished))];
    assert_eq!(again, wanted, "the first is given up");
    session.handle(now(7), Event::Frame(MasterFrame::ReportAcknowledged { sequence: 1 }));
    session.handle(now(7), Event::Frame(MasterFrame::ReportAcknowledged { sequence: 2 }));
    assert_eq!(session.handle(now(11), Event::Tick), [], "all is said");
}

#[test]
fn credits_hold_reports_back_and_keep_the_newest_only() {
    let recovered = vec![report(id(1, 1), running()), report(id(2, 1), running())];
    let mut session = up_with(
        Settings {
            report_credits: 1,
            ..Settings::default()
        },
        recovered,
    );
    let first = session.handle(now(1), progressed(id(1, 1), Phase::Publishing));
    assert_eq!(first, [sent_report(1, id(1, 1), Phase::Publishing)]);
    assert_eq!(session.handle(now(1), progressed(id(2, 1), Phase::Publishing)), []);
    assert_eq!(
        session.handle(now(1), progressed(id(2, 1), ended(TerminalState::Killed))),
        []
    );
    let next = session.handle(now(1), Event::Frame(MasterFrame::ReportAcknowledged { sequence: 1 }));
    assert_eq!(next, [sent_report(2, id(2, 1), ended(TerminalState::Killed))]);
}

/// Found by simulation: an attempt that had been replaced while the agent was away began in the moment between the
/// welcome, which renewed the lease, and the order to forget it.
#[test]
fn a_lapsed_lease_is_granted_when_what_has_not_begun_is_confirmed() {
    let pending = |job| report(id(job, 1), Phase::Preparing);
    let acknowledged = |sequence| Event::Frame(MasterFrame::ReportAcknowledged { sequence });
    let recovered = vec![
        pending(1),
        pending(2),
        pending(3),
        pending(4),
        report(id(5, 1), running()),
    ];
    let mut session = down(Settings::default(), recovered);
    session.handle(now(0), Event::Connected);
    let asked = session.handle(now(1), Event::Frame(welcome(1)));
    let wanted: Vec<Action> = (1..=4)
        .map(|job| sent_report(job, id(job.into(), 1), Phase::Preparing))
        .collect();
    assert_eq!(asked, wanted, "what has not begun is reported again");
    let confirmations = [
        ("acknowledged", acknowledged(1)),
        ("assigned again", assign(1, id(2, 1))),
        ("forgotten", forget(2, id(3, 1))),
        ("begun", progressed(id(4, 1), running())),
    ];
    for (name, event) in confirmations {
        assert!(!session.lease_valid(now(2).steady), "before one is {name}");
        session.handle(now(2), event);
    }
    assert_eq!(session.lease_until(), Some(now(30).steady), "from the hello");

    // It lapses on the same connection: frames come, but no acknowledged heartbeat.
    for seconds in [5, 10, 15, 20, 25, 30, 31] {
        session.handle(now(seconds), Event::Tick);
        session.handle(now(seconds), stop(9, id(5, 1)));
    }
    assert!(!session.lease_valid(now(31).steady));
    let heartbeat = MasterFrame::HeartbeatAcknowledged { sequence: 5 };
    let asked = session.handle(now(32), Event::Frame(heartbeat));
    let again = |sequence, job| sent_report(sequence, id(job, 1), Phase::Preparing);
    assert_eq!(asked, [again(6, 1), again(7, 2)]);
    session.handle(now(32), acknowledged(2));
    assert!(
        !session.lease_valid(now(32).steady),
        "what was sent before confirms nothing"
    );
    session.handle(now(36), acknowledged(6));
    session.handle(now(36), acknowledged(7));
    assert_eq!(session.lease_until(), Some(now(60).steady));
}

#[test]
fn lease_counts_from_when_the_acknowledged_heartbeat_was_sent() {
    let mut session = down(Settings::default(), Vec::new());
    assert!(!session.lease_valid(now(0).steady));
    session.handle(now(1), Event::Connected);
    session.handle(now(4), Event::Tick);
    session.handle(now(5), Event::Frame(welcome(1)));
    assert_eq!(session.lease_until(), Some(now(31).steady), "from the first hello");
    assert_eq!(
        session.handle(now(10), Event::Tick),
        [Action::Send(AgentFrame::Heartbeat { sequence: 1 })]
    );
    assert_eq!(
        session.handle(now(15), Event::Tick),
        [Action::Send(AgentFrame::Heartbeat { sequence: 2 })]
    );
    session.handle(
        now(16),
        Event::Frame(MasterFrame::HeartbeatAcknowledged { sequence: 2 }),
    );
    session.handle(
        now(17),
        Event::Frame(MasterFrame::HeartbeatAcknowledged { sequence: 1 }),
    );
    session.handle(now(18), Event::Disconnected);
    assert!(session.lease_valid(now(44).steady), "it outlives the connection");
    assert!(!session.lease_valid(now(45).steady));
}

#[test]
fn silence_ends_the_connection() {
    let mut session = up();
    session.handle(now(5), Event::Tick);
    session.handle(now(10), Event::Tick);
    assert_eq!(session.deadline(), Some(now(15).steady));
    assert_eq!(
        session.handle(now(15), Event::Tick),
        [Action::Close(Error::Silent(3 * HEARTBEAT))]
    );
}

#[test]
fn offered_tunnels_are_accepted() {
    let tunnel = TunnelId::from_u128(1);
    let actions = up().handle(now(1), Event::Frame(MasterFrame::TunnelOffered { tunnel }));
    assert_eq!(actions, [Action::AcceptTunnel(tunnel)]);
}
