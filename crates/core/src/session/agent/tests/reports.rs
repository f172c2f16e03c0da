//! What the agent reports, and how long it may act.

use super::*;

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
    assert_eq!(session.lease_until(), Some(now(55).steady));

    // An order that is older than the lapse may come last; the one to forget it may be on the way.
    session.handle(now(37), assign(3, id(6, 1)));
    session.handle(now(37), progressed(id(6, 1), Phase::Accepted));
    session.handle(now(38), assign(3, id(6, 1)));
    assert!(!session.lease_valid(now(38).steady), "before it is confirmed");
    session.handle(now(38), acknowledged(8));
    assert_eq!(session.lease_until(), Some(now(55).steady));
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
        session.handle(now(13), Event::Tick),
        [Action::Send(AgentFrame::Heartbeat { sequence: 1 })]
    );
    let tunnel = TunnelId::from_u128(1);
    session.handle(now(14), Event::Frame(MasterFrame::TunnelOffered { tunnel }));
    assert_eq!(
        session.handle(now(24), Event::Tick),
        [Action::Send(AgentFrame::Heartbeat { sequence: 2 })]
    );
    session.handle(
        now(25),
        Event::Frame(MasterFrame::HeartbeatAcknowledged { sequence: 2 }),
    );
    session.handle(
        now(26),
        Event::Frame(MasterFrame::HeartbeatAcknowledged { sequence: 1 }),
    );
    session.handle(now(27), Event::Disconnected);
    assert!(session.lease_valid(now(53).steady), "it outlives the connection");
    assert!(!session.lease_valid(now(54).steady));
}

#[test]
fn who_has_no_attempt_sends_fewer_heartbeats() {
    let beat = |sequence| Action::Send(AgentFrame::Heartbeat { sequence });
    let mut session = up();
    assert_eq!(session.deadline(), Some(now(10).steady), "twice as long");
    assert_eq!(session.handle(now(6), Event::Tick), []);
    let actions = session.handle(now(6), assign(1, id(1, 1)));
    assert!(
        actions.contains(&beat(1)),
        "the first attempt needs a lease: {actions:?}"
    );
    assert_eq!(session.deadline(), Some(now(11).steady), "and goes on needing one");
    session.handle(now(7), progressed(id(1, 1), ended(TerminalState::Finished)));
    assert_eq!(session.handle(now(11), Event::Tick)[0], beat(2));
    session.handle(now(12), Event::Frame(MasterFrame::ReportAcknowledged { sequence: 1 }));
    session.handle(now(12), forget(2, id(1, 1)));
    session.handle(now(12), Event::Forgotten(id(1, 1)));
    assert_eq!(session.deadline(), Some(now(21).steady), "none is left");
}

#[test]
fn silence_ends_the_connection() {
    let mut session = up();
    session.handle(now(10), Event::Tick);
    assert_eq!(
        session.deadline(),
        Some(now(15).steady),
        "as long after it asks as ever"
    );
    assert_eq!(
        session.handle(now(15), Event::Tick),
        [Action::Close(Error::Silent(3 * HEARTBEAT))]
    );
    let mut session = up();
    session.handle(now(1), assign(1, id(1, 1)));
    for seconds in [5, 10] {
        session.handle(now(seconds), Event::Tick);
    }
    assert_eq!(session.deadline(), Some(now(11).steady));
    assert_eq!(
        session.handle(now(11), Event::Tick),
        [Action::Close(Error::Silent(2 * HEARTBEAT))]
    );
}

#[test]
fn offered_tunnels_are_accepted() {
    let tunnel = TunnelId::from_u128(1);
    let actions = up().handle(now(1), Event::Frame(MasterFrame::TunnelOffered { tunnel }));
    assert_eq!(actions, [Action::AcceptTunnel(tunnel)]);
}

#[test]
fn why_an_attempt_waits_is_said_on_every_connection_until_it_goes_on() {
    let waits = |job: u128, reason: &str| Event::Waits {
        attempt: id(job, 1),
        reason: reason.to_owned(),
    };
    let said = |reason: &str| {
        Action::Send(AgentFrame::Waits {
            attempt: id(1, 1),
            reason: reason.to_owned(),
        })
    };
    let mut session = up_with(
        Settings::default(),
        vec![
            report(id(1, 1), Phase::Preparing),
            report(id(2, 1), ended(TerminalState::Killed)),
        ],
    );
    assert_eq!(session.handle(now(1), waits(1, "no node")), [said("no node")]);
    assert_eq!(session.handle(now(1), waits(1, "no node")), [], "no news");
    assert_eq!(session.handle(now(1), waits(2, "over")), [], "it is over");
    assert_eq!(session.handle(now(1), waits(3, "unknown")), [], "there is none");
    session.handle(now(1), Event::Disconnected);
    assert_eq!(session.handle(now(2), waits(1, "no image")), [], "nobody listens");
    session.handle(now(3), Event::Connected);
    let welcomed = session.handle(now(3), Event::Frame(welcome(2)));
    assert!(welcomed.contains(&said("no image")), "{welcomed:?}");
    let begun = session.handle(now(4), progressed(id(1, 1), running()));
    assert_eq!(begun, [said(""), sent_report(2, id(1, 1), running())]);
}

#[test]
fn what_there_is_for_jobs_is_said_on_every_connection() {
    let survey = |nodes: &str| {
        let facts = Labels::from_pairs([("nodes", nodes)]).unwrap();
        Box::new(Survey {
            capacity: Resources {
                cpu_milli: 7,
                memory_bytes: 8,
            },
            nodes: Nodes::default(),
            facts,
        })
    };
    let mut session = up();
    let said = session.handle(now(1), Event::Surveyed(survey("2")));
    assert_eq!(said, [Action::Send(AgentFrame::Survey(survey("2")))]);
    session.handle(now(1), Event::Disconnected);
    assert_eq!(session.handle(now(2), Event::Surveyed(survey("3"))), []);
    let hello = session.handle(now(3), Event::Connected);
    let [Action::Send(AgentFrame::Hello(hello))] = &hello[..] else {
        panic!("{hello:?}")
    };
    assert_eq!((hello.capacity.cpu_milli, hello.facts.get("nodes")), (7, Some("3")));
    let welcomed = session.handle(now(3), Event::Frame(welcome(2)));
    assert!(
        welcomed.contains(&Action::Send(AgentFrame::Survey(survey("3")))),
        "{welcomed:?}"
    );
}

/// A hello lists many attempts, and has no room for job files.
#[test]
fn an_end_that_brings_a_job_file_is_reported_after_the_hello() {
    let Phase::Ended(outcome) = ended(TerminalState::Finished) else {
        unreachable!("it has ended")
    };
    let file = GeneratedFile {
        name: "infrabox.json".to_owned(),
        text: Ok("{}".to_owned()),
        workflows: Vec::new(),
    };
    let end = Phase::Ended(Outcome {
        generated: Some(Box::new(file)),
        ..outcome
    });
    let mut session = down(Settings::default(), vec![report(id(1, 1), end.clone())]);
    for attempt in 1..=2 {
        let hello = session.handle(now(attempt), Event::Connected);
        let [Action::Send(AgentFrame::Hello(hello))] = hello.as_slice() else {
            panic!("a hello, not {hello:?}")
        };
        assert_eq!(hello.attempts, [report(id(1, 1), Phase::Publishing)]);
        let asked = session.handle(now(attempt), Event::Frame(welcome(attempt)));
        assert_eq!(
            asked,
            [sent_report(1, id(1, 1), end.clone())],
            "also on the next connection"
        );
        session.handle(now(attempt), Event::Disconnected);
    }
}
