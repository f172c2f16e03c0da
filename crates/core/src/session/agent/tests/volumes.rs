//! What the master hears of volumes.

use super::*;
use crate::volume::VolumeId;

fn volume(build: u128) -> VolumeId {
    VolumeId::Shared(BuildId::from_u128(build))
}

fn said(volume: VolumeId) -> Action {
    Action::Send(AgentFrame::Holds(volume))
}

/// Found by simulation: a volume that came between hello and welcome was never said, and stayed after its build.
#[test]
fn a_volume_is_said_at_once_whenever_it_comes() {
    let mut session = down(Settings::default(), Vec::new());
    assert_eq!(session.handle(now(0), Event::Holds(volume(1))), []);
    let hello = session.handle(now(0), Event::Connected);
    let [Action::Send(AgentFrame::Hello(hello))] = &hello[..] else {
        panic!("not a hello: {hello:?}")
    };
    assert_eq!(hello.volumes, [volume(1)]);
    for early in [2, 3] {
        assert_eq!(session.handle(now(1), Event::Holds(volume(early))), []);
    }
    assert_eq!(session.handle(now(1), Event::Released(volume(3))), []);
    let welcomed = session.handle(now(2), Event::Frame(welcome(1)));
    assert_eq!(welcomed, [said(volume(2))]);
    assert_eq!(session.handle(now(2), Event::Holds(volume(2))), []);
    assert_eq!(session.handle(now(2), Event::Holds(volume(4))), [said(volume(4))]);
}

/// Found by simulation: what was said of a volume was lost in a partition that its connection outlasted, and nothing else said it.
#[test]
fn each_volume_is_said_again_in_its_turn_with_heartbeats() {
    let mut session = up();
    for build in [1, 2, 3] {
        session.handle(now(0), Event::Holds(volume(build)));
    }
    let order = MasterFrame::Order {
        sequence: 1,
        order: OrderFrame::Release(volume(2)),
    };
    assert_eq!(
        session.handle(now(0), Event::Frame(order)),
        [Action::Release(volume(2))]
    );
    let again: Vec<Action> = (1..=3)
        .flat_map(|sequence| {
            let at = Now {
                steady: session.deadline().unwrap(),
                ..now(0)
            };
            let mut sent = session.handle(at, Event::Tick);
            assert_eq!(sent.remove(0), Action::Send(AgentFrame::Heartbeat { sequence }));
            session.handle(at, Event::Frame(MasterFrame::HeartbeatAcknowledged { sequence }));
            sent
        })
        .collect();
    assert_eq!(
        again,
        [1, 3, 1].map(|build| said(volume(build))),
        "what goes is not said again"
    );
}
