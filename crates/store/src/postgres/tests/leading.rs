//! Several masters: who leads, who follows, and what the one that was followed can still do.

use std::time::Instant;

use tombolo_core::leadership::{Hold, Term, Verdict, Watch};
use tombolo_core::time::Moment;

use super::sessions::commit;
use super::*;

const LEASE: Duration = Duration::from_millis(600);

fn candidate(database: &str) -> Candidate {
    let standing = Standing {
        installation: "ours".to_owned(),
        before: Vec::new(),
        adopts: false,
        lease: Some(LEASE),
        addresses: Some(Addresses {
            agents: "10.0.0.1:7443".to_owned(),
            users: "10.0.0.1:8443".to_owned(),
        }),
    };
    candidate_as(database, standing)
}

fn candidate_as(database: &str, standing: Standing) -> Candidate {
    Candidate::new(&Location::new(SERVER.url(database)), standing).unwrap()
}

/// Takes the lead when it is free. Gives how long it was waited for.
async fn lead(candidate: &Candidate) -> (Taken, Duration) {
    let began = Instant::now();
    let now = || Moment(began.elapsed());
    let mut watch = Watch::default();
    while began.elapsed() < PATIENCE {
        let leader = candidate.leader().await.unwrap();
        if watch.observe(now(), leader.record, leader.is_locked) == Verdict::Free {
            return (candidate.take_over(&leader, now).await.unwrap(), began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody lets go");
}

#[tokio::test]
async fn a_leader_that_does_not_renew_is_followed_whatever_it_has_under_way() {
    let name = database(&SERVER);
    let (first, second) = (candidate(&name), candidate(&name));
    let (old, waited) = lead(&first).await;
    assert!(
        waited < LEASE,
        "a database that nobody leads is led at once, not after {waited:?}"
    );
    let epoch = old.store.acquire().await.unwrap();
    commit(&old.store, epoch, 1).await.unwrap();
    // It stands still in the middle of a transaction, with the lock that every commit takes.
    let turn = old.store.inner.writer.turn().await.unwrap();
    let begun = "BEGIN; UPDATE leadership SET sequence = 2";
    turn.connection().client().batch_execute(begun).await.unwrap();
    let (new, waited) = lead(&second).await;
    assert!(waited > LEASE && waited < 4 * LEASE, "{waited:?}");
    assert_eq!(new.term, Term(old.term.0 + 1));
    let next = new.store.acquire().await.unwrap();
    assert!(next > epoch);
    assert_eq!(new.store.load().await.unwrap().live.projects.len(), 1);
    // It goes on.
    turn.give_back();
    assert!(!first.renew(old.term).await.unwrap());
    let late = commit(&old.store, epoch, 2).await;
    assert!(
        matches!(late, Err(CommitError::Unavailable(_) | CommitError::Deposed)),
        "{late:?}"
    );
    assert_eq!(old.store.append_log(epoch, Vec::new()).await, Err(Error::Deposed));
    let again = old.store.acquire().await;
    assert!(matches!(again, Err(AcquireError::Held { .. })), "{again:?}");
    commit(&new.store, next, 1).await.unwrap();
    // Also when the lock is free, it does not get its leadership back.
    drop(new);
    let until = Instant::now() + PATIENCE;
    let again = loop {
        match old.store.acquire().await {
            Err(AcquireError::Held { .. }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => break result,
        }
    };
    assert!(matches!(again, Err(AcquireError::Followed { .. })), "{again:?}");
    assert_eq!(commit(&old.store, epoch, 2).await, Err(CommitError::Deposed));
}

#[tokio::test]
async fn a_leader_that_renews_keeps_its_term_and_one_that_lets_go_is_followed_at_once() {
    let name = database(&SERVER);
    let (first, second) = (candidate(&name), candidate(&name));
    let (old, _) = lead(&first).await;
    let (mut watch, began) = (Watch::default(), Instant::now());
    while began.elapsed() < 3 * LEASE {
        assert!(first.renew(old.term).await.unwrap());
        let leader = second.leader().await.unwrap();
        assert_eq!(leader.record.hold, Hold::Renewed(LEASE));
        assert_eq!(leader.addresses.as_ref().unwrap().users, "10.0.0.1:8443");
        let verdict = watch.observe(Moment(began.elapsed()), leader.record, leader.is_locked);
        assert_eq!(verdict, Verdict::Held);
        tokio::time::sleep(LEASE / 6).await;
    }
    first.release(old.term).await.unwrap();
    assert!(
        !first.renew(old.term).await.unwrap(),
        "who let go gets it back by no renewal"
    );
    let (new, waited) = lead(&second).await;
    assert!(waited < LEASE, "{waited:?}");
    // What comes late from the one before concerns its own term only.
    first.release(old.term).await.unwrap();
    assert!(second.renew(new.term).await.unwrap());
}

#[tokio::test]
async fn of_two_that_saw_the_same_one_leads() {
    let name = database(&SERVER);
    let (first, second) = (candidate(&name), candidate(&name));
    let seen = first.leader().await.unwrap();
    let now = Moment::default;
    let taken = first.take_over(&seen, now).await.unwrap();
    let late = second.take_over(&seen, now).await;
    assert!(matches!(late, Err(AcquireError::Held { .. })), "{late:?}");
    assert!(first.renew(taken.term).await.unwrap());
    // A leader that comes back at the last moment keeps its lead too.
    let seen = second.leader().await.unwrap();
    assert!(first.renew(taken.term).await.unwrap());
    let late = second.take_over(&seen, now).await;
    assert!(matches!(late, Err(AcquireError::Held { .. })), "{late:?}");
    let epoch = taken.store.acquire().await.unwrap();
    commit(&taken.store, epoch, 1).await.unwrap();
}

#[tokio::test]
async fn a_database_of_another_installation_is_led_only_if_that_is_meant() {
    let name = database(&SERVER);
    drop(lead(&candidate(&name)).await);
    let theirs = |adopts| Standing {
        installation: "theirs".to_owned(),
        adopts,
        ..Standing::default()
    };
    let refused = candidate_as(&name, theirs(false))
        .lead_within(Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(refused, AcquireError::Foreign { .. }), "{refused}");
    for word in ["ours", "theirs", "database.adopt", name.as_str()] {
        assert!(refused.to_string().contains(word), "{refused}");
    }
    candidate_as(&name, theirs(true)).lead_within(PATIENCE).await.unwrap();
    let refused = candidate(&name).leader().await.unwrap_err();
    assert!(matches!(refused, AcquireError::Foreign { .. }), "{refused}");
}

#[tokio::test]
async fn an_installation_that_takes_the_place_of_another_leads_its_database_and_keeps_it() {
    let name = database(&SERVER);
    drop(lead(&candidate(&name)).await);
    let ours = |before: &[&str]| Standing {
        installation: "new".to_owned(),
        before: before.iter().map(|&pin| pin.to_owned()).collect(),
        ..Standing::default()
    };
    for stranger in [&[][..], &["theirs"]] {
        let refused = candidate_as(&name, ours(stranger)).leader().await.unwrap_err();
        assert!(matches!(refused, AcquireError::Foreign { .. }), "{refused}");
    }
    drop(
        candidate_as(&name, ours(&["theirs", "ours"]))
            .lead_within(PATIENCE)
            .await
            .unwrap(),
    );
    // Who has not heard of it yet may lead as well, and does not take it away.
    drop(lead(&candidate(&name)).await);
    drop(
        candidate_as(&name, ours(&["ours"]))
            .lead_within(PATIENCE)
            .await
            .unwrap(),
    );
    // Until nobody is to be who it was.
    drop(candidate_as(&name, ours(&[])).lead_within(PATIENCE).await.unwrap());
    let refused = candidate(&name).leader().await.unwrap_err();
    assert!(matches!(refused, AcquireError::Foreign { .. }), "{refused}");
}

#[tokio::test]
async fn tables_of_a_newer_version_do_the_leader_no_harm() {
    let name = database(&SERVER);
    let (first, second) = (candidate(&name), candidate(&name));
    let (old, _) = lead(&first).await;
    let epoch = old.store.acquire().await.unwrap();
    SERVER.sql(&name, "INSERT INTO tombolo_migrations (version) VALUES (1000)");
    let leader = second.leader().await.unwrap();
    let refused = second.take_over(&leader, Moment::default).await.unwrap_err();
    assert!(refused.to_string().contains("newer version"), "{refused}");
    commit(&old.store, epoch, 1).await.unwrap();
    assert!(first.renew(old.term).await.unwrap());
}

/// It knows of no others, and renews nothing: the lock tells that it lives.
#[tokio::test]
async fn a_master_that_stands_alone_is_followed_when_its_lock_is_free() {
    let name = database(&SERVER);
    let alone = open(&SERVER, &name).await;
    let second = candidate(&name);
    let (mut watch, began) = (Watch::default(), Instant::now());
    while began.elapsed() < 2 * LEASE {
        let leader = second.leader().await.unwrap();
        assert_eq!(leader.record.hold, Hold::Locked);
        let verdict = watch.observe(Moment(began.elapsed()), leader.record, leader.is_locked);
        assert_eq!(verdict, Verdict::Held);
        tokio::time::sleep(LEASE / 6).await;
    }
    drop(alone);
    let (taken, _) = lead(&second).await;
    let third = Postgres::open(&Location::new(SERVER.url(&name)), Duration::ZERO).await;
    assert!(matches!(third, Err(AcquireError::Held { .. })), "{third:?}");
    assert!(second.renew(taken.term).await.unwrap());
}
