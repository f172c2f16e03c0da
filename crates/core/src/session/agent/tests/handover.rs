//! The end of a process that another one follows.

use super::*;

fn exclusive(attempt: AttemptId) -> Event {
    let mut assignment = assignment(attempt);
    assignment.job.extensions.get_or_insert_default().exclusive = true;
    order(1, OrderFrame::Assign(assignment))
}

#[test]
fn commands_that_end_with_the_lease_go_on_under_the_handover_lease_and_nothing_new_begins_under_it() {
    let mut session = up();
    let attempt = id(1, 1);
    session.handle(now(1), exclusive(attempt));
    session.handle(now(1), progressed(attempt, Phase::Accepted));
    assert!(!session.awaits_handover());
    let asked = session.handle(now(2), Event::HandOver);
    assert!(asked.contains(&Action::Send(AgentFrame::HandOver)), "{asked:?}");
    assert!(session.awaits_handover());
    let again = session.handle(now(4), Event::HandOver);
    assert!(
        again.contains(&Action::Send(AgentFrame::HandOver)),
        "it may have been lost"
    );
    let granted = session.handle(now(5), Event::Frame(MasterFrame::HandedOver));
    // It counts from when it was asked for first.
    let hold = Action::Hold {
        attempt,
        until: now(2).steady + HANDOVER,
        length: HANDOVER,
    };
    assert!(granted.contains(&hold), "{granted:?}");
    assert!(session.holds_handover() && !session.awaits_handover());
    assert!(
        session.lease_until().unwrap() <= now(5).steady + LEASE,
        "what has not begun is not covered"
    );
}

#[test]
fn a_handover_lease_that_nobody_asked_for_closes_the_connection_and_one_that_does_not_exist_is_not_asked_for() {
    let mut session = up();
    let actions = session.handle(now(1), Event::Frame(MasterFrame::HandedOver));
    assert!(matches!(actions.as_slice(), [.., Action::Close(_)]), "{actions:?}");
    // Without attempts there is nothing to hand over.
    let mut session = up();
    assert_eq!(session.handle(now(1), Event::HandOver), []);
    assert!(!session.awaits_handover());
}
