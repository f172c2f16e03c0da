//! What the master orders.

use super::*;

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
