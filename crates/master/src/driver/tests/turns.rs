//! What a turn of the driver takes, and in which order. The turns are taken by hand: what waits from an earlier one cannot be had otherwise.

use tombolo_core::control::Command;
use tombolo_core::id::SessionId;

use super::super::message::Request;
use super::world::{World, cluster};

/// What waits, by kind.
fn kinds<'a>(pending: impl IntoIterator<Item = &'a Request>) -> Vec<&'static str> {
    let kind = |request: &Request| match request.command {
        Command::Heartbeat { .. } => "heartbeat",
        Command::Tick => "tick",
        _ => "another",
    };
    pending.into_iter().map(kind).collect()
}

/// A driver was held up, for longer than a lease, between its taking a tick and its doing it.
#[tokio::test(start_paused = true)]
async fn heartbeats_are_heard_before_a_tick_of_an_earlier_turn() {
    let (handle, mut driver) = World::unstarted().await;
    driver.pending.push_back(Request::internal(Command::Tick));
    driver.tick.pending = true;
    let callers: Vec<_> = ["east", "west"]
        .map(|name| {
            let command = Command::Heartbeat {
                cluster: cluster(name),
                session: SessionId(1),
            };
            let handle = handle.clone();
            tokio::spawn(async move { handle.apply(command).await })
        })
        .into();
    tokio::task::yield_now().await;
    assert!(driver.collect().await);
    assert_eq!(kinds(&driver.pending), ["heartbeat", "heartbeat", "tick"]);

    // While it is sought which of those at the front the database rejects, they stay there.
    driver.suspects = 1;
    let command = Command::Heartbeat {
        cluster: cluster("north"),
        session: SessionId(1),
    };
    let late = tokio::spawn(async move { handle.apply(command).await });
    tokio::task::yield_now().await;
    assert!(driver.collect().await);
    assert_eq!(kinds(&driver.pending), ["heartbeat", "heartbeat", "tick", "heartbeat"]);
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    late.abort();
}
