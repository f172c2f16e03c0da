//! The master's end, event by event.

use std::time::Duration;

use super::{Action, Event, Session, Settings, Ticket};
use crate::attempt::{Outcome, Phase};
use crate::build::TerminalState;
use crate::control::{Command, Refusal};
use crate::id::{AttemptId, Epoch, JobId, SessionId, TunnelId};
use crate::label::Labels;
use crate::name::ClusterName;
use crate::resources::Resources;
use crate::session::{AgentFrame, AttemptReport, Error, Hello, MasterFrame, OrderFrame, StopReason};
use crate::time::{Moment, Timestamp};

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn id(job: u128) -> AttemptId {
    AttemptId {
        job: JobId::from_u128(job),
        epoch: Epoch(1),
    }
}

fn hello(attempts: Vec<AttemptReport>) -> Event {
    Event::Frame(AgentFrame::Hello(Box::new(Hello {
        version: "1".to_owned(),
        capacity: Resources::default(),
        slots: 4,
        capabilities: Vec::new(),
        facts: Labels::new(),
        peer_address: None,
        volumes: Vec::new(),
        attempts,
    })))
}

fn report(sequence: u64, phase: Phase) -> Event {
    Event::Frame(AgentFrame::Report {
        sequence,
        attempt: id(1),
        phase,
    })
}

fn skipped() -> Phase {
    Phase::Ended(Outcome {
        state: TerminalState::Skipped,
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

fn fresh(settings: Settings) -> Session {
    Session::new(settings, ClusterName::new("east").unwrap(), SessionId(7), at(0))
}

fn live_with(settings: Settings) -> Session {
    let mut session = fresh(settings);
    session.handle(at(0), hello(Vec::new()));
    let actions = session.handle(
        at(0),
        Event::Applied {
            ticket: Ticket::Hello,
            result: Ok(()),
        },
    );
    assert!(
        matches!(actions[..], [Action::Send(MasterFrame::Welcome(_))]),
        "{actions:?}"
    );
    session
}

fn live() -> Session {
    live_with(Settings::default())
}

/// The orders that are sent, by number.
fn orders(actions: &[Action]) -> Vec<(u64, OrderFrame)> {
    let order = |action: &Action| match action {
        Action::Send(MasterFrame::Order { sequence, order }) => Some((*sequence, order.clone())),
        _ => None,
    };
    actions.iter().filter_map(order).collect()
}

fn stop(job: u128) -> OrderFrame {
    OrderFrame::Stop {
        attempt: id(job),
        reason: StopReason::Cancelled,
    }
}

fn forget(job: u128) -> OrderFrame {
    OrderFrame::Forget(id(job))
}

#[test]
fn hello_is_applied_once_and_welcomed_when_durable() {
    let mut session = fresh(Settings::default());
    let actions = session.handle(at(1), hello(Vec::new()));
    let [
        Action::Apply {
            ticket: Ticket::Hello,
            command: Command::Connect {
                session: SessionId(7), ..
            },
        },
    ] = actions[..]
    else {
        panic!("{actions:?}")
    };
    assert!(
        session.handle(at(2), hello(Vec::new())).is_empty(),
        "it is being taken in"
    );
    assert!(
        session.handle(at(2), Event::Order(forget(1))).is_empty(),
        "not before the welcome"
    );
    let actions = session.handle(
        at(3),
        Event::Applied {
            ticket: Ticket::Hello,
            result: Ok(()),
        },
    );
    let [
        Action::Send(MasterFrame::Welcome(welcome)),
        Action::Send(MasterFrame::Order { sequence: 1, order }),
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((welcome.session, order), (SessionId(7), &forget(1)));
    let actions = session.handle(at(4), hello(Vec::new()));
    assert!(
        matches!(actions[..], [Action::Send(MasterFrame::Welcome(_))]),
        "the welcome was lost: {actions:?}"
    );
}

fn assert_closes(name: &str, mut session: Session, event: Event, wanted: &str) {
    let actions = session.handle(at(1), event);
    let [Action::Close(error)] = &actions[..] else {
        panic!("{name}: {actions:?}")
    };
    assert!(error.to_string().contains(wanted), "{name}: {error}");
    assert!(
        session.handle(at(1), hello(Vec::new())).is_empty(),
        "{name}: nothing is heard after the end"
    );
    assert_eq!(session.deadline(), None, "{name}");
}

#[test]
fn bad_first_frames_close_the_connection() {
    let twice = AttemptReport {
        attempt: id(1),
        phase: Phase::Accepted,
    };
    let by_agent = AttemptReport {
        attempt: id(1),
        phase: skipped(),
    };
    let heartbeat = Event::Frame(AgentFrame::Heartbeat { sequence: 1 });
    for (name, event, wanted) in [
        ("heartbeat", heartbeat, "unexpected"),
        ("report", report(1, Phase::Accepted), "unexpected"),
        (
            "attempt listed twice",
            hello(vec![twice.clone(), twice.clone()]),
            "twice",
        ),
        ("attempt skipped", hello(vec![by_agent]), "skipped"),
    ] {
        assert_closes(name, fresh(Settings::default()), event, wanted);
    }
    let small = Settings {
        hello_attempts: 0,
        ..Settings::default()
    };
    assert_closes("long hello", fresh(small), hello(vec![twice]), "more than 0");
    let refused = Event::Applied {
        ticket: Ticket::Hello,
        result: Err(Refusal::StaleSession),
    };
    assert_closes("hello refused", fresh(Settings::default()), refused, "refused");
}

#[test]
fn bad_later_frames_close_the_connection() {
    let stale = |ticket| Event::Applied {
        ticket,
        result: Err(Refusal::StaleSession),
    };
    for (name, event, wanted) in [
        ("skipped", report(1, skipped()), "skipped"),
        (
            "order never given",
            Event::Frame(AgentFrame::OrderAcknowledged { sequence: 1 }),
            "unexpected",
        ),
        (
            "heartbeat when replaced",
            stale(Ticket::Heartbeat { sequence: 1 }),
            "refused",
        ),
        (
            "report when replaced",
            stale(Ticket::Report {
                sequence: 1,
                attempt: id(1),
            }),
            "refused",
        ),
    ] {
        assert_closes(name, live(), event, wanted);
    }
}

#[test]
fn deadlines() {
    let settings = Settings {
        lease: Duration::from_secs(30),
        ..Settings::default()
    };
    let mut session = fresh(settings.clone());
    assert_eq!(session.deadline(), Some(at(10)));
    let actions = session.handle(at(10), Event::Tick);
    assert!(
        matches!(actions[..], [Action::Close(Error::HelloMissing(_))]),
        "{actions:?}"
    );

    let mut session = live_with(settings);
    assert_eq!(session.deadline(), Some(at(30)));
    session.handle(at(20), Event::Frame(AgentFrame::Heartbeat { sequence: 1 }));
    assert_eq!(session.deadline(), Some(at(50)));
    let actions = session.handle(at(50), Event::Tick);
    assert!(matches!(actions[..], [Action::Close(Error::Silent(_))]), "{actions:?}");
}

#[test]
fn heartbeats_are_acknowledged_when_the_control_plane_took_them() {
    let mut session = live_with(Settings {
        pending_heartbeats: 1,
        ..Settings::default()
    });
    let beat = |sequence| Event::Frame(AgentFrame::Heartbeat { sequence });
    let actions = session.handle(at(1), beat(1));
    assert!(
        matches!(
            actions[..],
            [Action::Apply {
                ticket: Ticket::Heartbeat { sequence: 1 },
                ..
            }]
        ),
        "{actions:?}"
    );
    assert!(session.handle(at(1), beat(1)).is_empty(), "doubled");
    assert!(session.handle(at(1), beat(2)).is_empty(), "too many");
    let applied = Event::Applied {
        ticket: Ticket::Heartbeat { sequence: 1 },
        result: Ok(()),
    };
    let actions = session.handle(at(2), applied);
    let wanted = MasterFrame::HeartbeatAcknowledged { sequence: 1 };
    assert!(
        matches!(&actions[..], [Action::Send(frame)] if *frame == wanted),
        "{actions:?}"
    );
}

#[test]
fn reports_are_acknowledged_when_durable() {
    let mut session = live();
    let ticket = Ticket::Report {
        sequence: 1,
        attempt: id(1),
    };
    let apply = |actions: &[Action]| matches!(actions, [Action::Apply { ticket: found, .. }] if *found == ticket);
    let acknowledged = |actions: &[Action]| {
        actions
            .iter()
            .any(|action| matches!(action, Action::Send(MasterFrame::ReportAcknowledged { sequence: 1 })))
    };
    for (name, result, answered, forgets) in [
        ("durable", Ok(()), true, false),
        ("another time", Err(Refusal::Limit("full".to_owned())), false, false),
        ("stale", Err(Refusal::StaleAttempt(id(1))), false, true),
    ] {
        assert!(apply(&session.handle(at(1), report(1, Phase::Accepted))), "{name}");
        assert!(
            session.handle(at(1), report(1, Phase::Accepted)).is_empty(),
            "{name}: it waits for its commit"
        );
        let actions = session.handle(at(1), Event::Applied { ticket, result });
        assert_eq!(acknowledged(&actions), answered, "{name}: {actions:?}");
        assert_eq!(!orders(&actions).is_empty(), forgets, "{name}: {actions:?}");
    }
}

#[test]
fn reports_beyond_the_limit_are_left_to_be_repeated() {
    let mut session = live_with(Settings {
        pending_reports: 1,
        ..Settings::default()
    });
    assert_eq!(session.handle(at(1), report(1, Phase::Accepted)).len(), 1);
    assert!(session.handle(at(1), report(2, Phase::Preparing)).is_empty());
    session.handle(
        at(1),
        Event::Applied {
            ticket: Ticket::Report {
                sequence: 1,
                attempt: id(1),
            },
            result: Ok(()),
        },
    );
    assert_eq!(session.handle(at(4), report(2, Phase::Preparing)).len(), 1);
}

#[test]
fn orders_are_repeated_until_acknowledged() {
    let mut session = live();
    assert_eq!(orders(&session.handle(at(1), Event::Order(stop(1)))), [(1, stop(1))]);
    assert_eq!(
        orders(&session.handle(at(1), Event::Order(stop(1)))),
        [],
        "it is on its way"
    );
    assert_eq!(session.deadline(), Some(at(4)));
    assert_eq!(orders(&session.handle(at(4), Event::Tick)), [(1, stop(1))]);
    session.handle(at(5), Event::Frame(AgentFrame::OrderAcknowledged { sequence: 1 }));
    session.handle(at(5), Event::Frame(AgentFrame::OrderAcknowledged { sequence: 1 }));
    assert_eq!(orders(&session.handle(at(9), Event::Tick)), []);
    assert_eq!(
        orders(&session.handle(at(9), Event::Order(stop(1)))),
        [(2, stop(1))],
        "wanted again"
    );
}

#[test]
fn forget_replaces_what_was_ordered_before() {
    let mut session = live();
    session.handle(at(1), Event::Order(stop(1)));
    assert_eq!(
        orders(&session.handle(at(1), Event::Order(forget(1)))),
        [(2, forget(1))]
    );
    assert_eq!(orders(&session.handle(at(4), Event::Tick)), [(2, forget(1))]);
}

#[test]
fn credits_hold_orders_back_and_too_many_end_the_connection() {
    let mut session = live_with(Settings {
        order_credits: 1,
        waiting_orders: 1,
        ..Settings::default()
    });
    assert_eq!(
        orders(&session.handle(at(1), Event::Order(forget(1)))),
        [(1, forget(1))]
    );
    assert_eq!(orders(&session.handle(at(1), Event::Order(forget(2)))), []);
    let acknowledged = Event::Frame(AgentFrame::OrderAcknowledged { sequence: 1 });
    assert_eq!(orders(&session.handle(at(1), acknowledged)), [(2, forget(2))]);
    session.handle(at(1), Event::Order(forget(3)));
    let actions = session.handle(at(1), Event::Order(forget(4)));
    assert!(
        matches!(actions[..], [Action::Close(Error::TooMany { .. })]),
        "{actions:?}"
    );
}

#[test]
fn tunnels_are_offered_to_a_live_agent_only() {
    let tunnel = TunnelId::from_u128(1);
    assert!(
        fresh(Settings::default())
            .handle(at(1), Event::OfferTunnel(tunnel))
            .is_empty()
    );
    let actions = live().handle(at(1), Event::OfferTunnel(tunnel));
    assert!(
        matches!(actions[..], [Action::Send(MasterFrame::TunnelOffered { .. })]),
        "{actions:?}"
    );
}
