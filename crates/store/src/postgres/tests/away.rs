//! Commits whose outcome is not known at first, and a server that dies.

use super::proxy::{Break, Proxy};
use super::server::PASSWORD;
use super::sessions::commit;
use super::*;

/// A store whose way to the server breaks as planned.
async fn behind_proxy() -> (Postgres, Proxy) {
    let name = database(&SERVER);
    let proxy = Proxy::start(SERVER.port()).await;
    let location = Location::new(format!("postgres://postgres:{PASSWORD}@{}/{name}", proxy.address));
    (Postgres::open(&location, PATIENCE).await.unwrap(), proxy)
}

#[tokio::test]
async fn the_outcome_of_a_commit_is_read_back() {
    let (store, proxy) = behind_proxy().await;
    let epoch = store.acquire().await.unwrap();
    let mut number = 0;
    for plan in [Break::BeforeCommit, Break::AfterCommit].repeat(5) {
        number += 1;
        proxy.plan(plan);
        let result = commit(&store, epoch, number).await;
        assert!(proxy.has_broken());
        assert!(matches!(result, Err(CommitError::Unknown(_))), "{plan:?}: {result:?}");
        let last = store.committed(epoch).await.unwrap();
        match plan {
            Break::BeforeCommit => {
                assert_eq!(last, Sequence(number - 1));
                commit(&store, epoch, number).await.unwrap();
            }
            _ => assert_eq!(last, Sequence(number)),
        }
        let stored = store.load().await.unwrap().live.projects.len();
        assert_eq!(stored, usize::try_from(number).unwrap(), "{plan:?}");
    }
}

/// The driver's own deadline comes before the answer: the session before is ended, and its outcome counts.
#[tokio::test]
async fn a_commit_without_an_answer_is_resolved() {
    let (store, proxy) = behind_proxy().await;
    let epoch = store.acquire().await.unwrap();
    proxy.plan(Break::Silence);
    let answer = tokio::time::timeout(Duration::from_secs(2), commit(&store, epoch, 1)).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(proxy.has_broken());
    assert_eq!(store.committed(epoch).await, Ok(Sequence(1)));
    commit(&store, epoch, 2).await.unwrap();
}

/// The server is killed in the middle of commits, again and again: what it acknowledged is there, every unknown outcome is found
/// out, and nothing is there twice or in parts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    const ROUNDS: u64 = 4;
    let server = Arc::new(Server::start(&[]));
    let name = database(&server);
    let store = open(&server, &name).await;
    let epoch = store.acquire().await.unwrap();
    let (mut number, mut unknown) = (0, 0);
    for round in 0..ROUNDS {
        let killed = tokio::task::spawn_blocking({
            let server = Arc::clone(&server);
            move || {
                std::thread::sleep(Duration::from_millis(150 + 70 * round));
                server.kill();
                std::thread::sleep(Duration::from_millis(300));
                server.start_again();
            }
        });
        let enough = number + 200;
        while !killed.is_finished() || number < enough {
            number += 1;
            unknown += u64::from(commit_somehow(&store, epoch, number).await);
        }
        killed.await.unwrap();
        let stored = store.load().await.unwrap();
        assert_eq!(stored.sequence, Sequence(number));
        assert_eq!(stored.live.projects.len(), usize::try_from(number).unwrap());
    }
    assert!(unknown <= number, "{unknown} of {number} outcomes were read back");
}

/// Commits as the driver does. Tells whether the outcome had to be read back.
async fn commit_somehow(store: &Postgres, epoch: LeaderEpoch, number: u64) -> bool {
    let until = tokio::time::Instant::now() + PATIENCE;
    let mut unknown = false;
    while tokio::time::Instant::now() < until {
        match commit(store, epoch, number).await {
            Ok(()) => return unknown,
            Err(CommitError::Unavailable(_)) => {}
            Err(CommitError::Unknown(_)) => {
                unknown = true;
                while tokio::time::Instant::now() < until {
                    match store.committed(epoch).await {
                        Ok(last) if last == Sequence(number) => return true,
                        Ok(last) => {
                            assert_eq!(last, Sequence(number - 1), "an acknowledged commit is gone");
                            break;
                        }
                        Err(Error::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Err(error) => panic!("commit {number}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("commit {number} cannot be made");
}

/// Reads get over a short absence by themselves; after a long one they say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_come_back_with_the_server() {
    let server = Server::start(&[]);
    let name = database(&server);
    let store = open(&server, &name).await;
    store.acquire().await.unwrap();
    store.load().await.unwrap();
    server.kill();
    let error = store.load().await.unwrap_err();
    assert!(
        matches!(&error, Error::Unavailable(reason) if reason.contains(&name)),
        "{error}"
    );
    server.start_again();
    store.load().await.unwrap();
}
