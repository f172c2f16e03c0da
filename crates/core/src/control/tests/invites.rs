//! The one-time right to join.

use std::time::Duration;

use super::super::record::Invite;
use super::super::testing::{World, cluster, digest};
use super::super::{Caution, Change, Command, Refusal, Reply};
use crate::id::InviteId;
use crate::label::Labels;
use crate::time::Timestamp;

const SECOND: Duration = Duration::from_secs(1);
/// How long an invite is kept after its end.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl World {
    /// Makes an invite of this number for 15 minutes; the number is also its secret.
    fn invite_command(&self, number: u8, name: &str) -> Command {
        Command::Invite(Invite {
            id: InviteId::from_u128(u128::from(number)),
            secret: digest(number),
            cluster: cluster(name),
            labels: Labels::parse(["AWS"]).unwrap(),
            expires_at: Timestamp(self.now.wall.0 + 900_000),
            used_by: Some(digest(99)),
            pin: None,
        })
    }
}

/// A joining with the secret of this number and a key.
fn join(number: u8, key: u8) -> Command {
    let (secret, key) = (digest(number), digest(key));
    Command::Join { secret, key }
}

#[test]
fn an_invite_is_good_for_one_key() {
    let mut world = World::new();
    for number in [1, 2] {
        let command = world.invite_command(number, "east");
        world.done(command);
    }
    assert_eq!(world.refused(join(3, 7)), Refusal::InvalidInvite, "unknown");
    let Ok(Reply::Joined(joined)) = world.done(join(1, 7)).reply else {
        panic!("the cluster joins")
    };
    assert_eq!(
        (joined.name.as_str(), joined.key, joined.labels.get("AWS")),
        ("east", digest(7), Some(""))
    );
    let again = world.done(join(1, 7));
    assert_eq!(
        again.reply,
        Ok(Reply::Joined(joined)),
        "an answer that was lost is given again"
    );
    assert!(again.changes.is_empty());
    assert_eq!(world.refused(join(1, 8)), Refusal::InvalidInvite, "used by another key");
    assert_eq!(world.refused(join(2, 8)), Refusal::InvalidInvite, "the name is taken");
    assert_eq!(
        world.refused(join(2, 7)),
        Refusal::InvalidInvite,
        "also for the same key"
    );
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!(
        world.refused(join(1, 7)),
        Refusal::InvalidInvite,
        "an invite is no way back"
    );
}

#[test]
fn an_invite_is_for_a_new_cluster() {
    let mut world = World::new();
    let first = world.invite_command(1, "east");
    world.done(first.clone());
    assert!(matches!(world.refused(first), Refusal::Exists { kind: "invite", .. }));
    world.done(join(1, 7));
    let second = world.invite_command(2, "east");
    assert!(matches!(
        world.refused(second.clone()),
        Refusal::Exists { kind: "cluster", .. }
    ));
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    world.done(second);
    world.done(join(2, 8));
}

#[test]
fn what_was_withdrawn_lets_nobody_in() {
    let mut world = World::new();
    for (number, name) in [(1, "east"), (2, "east"), (3, "west")] {
        let command = world.invite_command(number, name);
        world.done(command);
    }
    let withdraw = |name| Command::WithdrawInvites { cluster: cluster(name) };
    let effects = world.done(withdraw("east"));
    let dropped = [1, 2].map(|number| Change::DeleteInvite(InviteId::from_u128(number)));
    assert_eq!(effects.changes, dropped);
    assert_eq!(world.refused(join(1, 7)), Refusal::InvalidInvite);
    world.done(join(3, 7));
    for name in ["east", "west"] {
        assert!(
            matches!(world.refused(withdraw(name)), Refusal::NotFound { kind: "invite", .. }),
            "{name}"
        );
    }
    assert_eq!(world.control.invites().count(), 1, "the used one stays");
}

#[test]
fn invites_end_with_their_time() {
    let mut world = World::new();
    for (number, name) in [(1, "east"), (2, "west")] {
        let command = world.invite_command(number, name);
        world.done(command);
    }
    world.done(join(1, 7));
    world.restart();
    world.pass(899 * SECOND);
    assert_eq!(world.control.invites().count(), 2);
    world.advance(SECOND);
    assert_eq!(
        world.refused(join(2, 7)),
        Refusal::InvalidInvite,
        "also before it is dropped"
    );
    assert!(world.done(Command::Tick).changes.is_empty(), "it is shown for a while");
    world.advance(DAY);
    let effects = world.done(Command::Tick);
    let dropped = [1, 2].map(|number| Change::DeleteInvite(InviteId::from_u128(number)));
    assert_eq!(effects.changes, dropped);
}

#[test]
fn an_invite_ends_by_the_calendar_also_when_that_was_set_back() {
    let mut world = World::new();
    let command = world.invite_command(1, "east");
    world.done(command);
    world.now.wall = Timestamp(world.now.wall.0 - 5000);
    assert!(world.pass(900 * SECOND + DAY).changes.is_empty());
    assert_eq!(world.pass(5 * SECOND).changes.len(), 1);
}
