//! Who leads, and what becomes of a session that is lost.

use tombolo_core::control::Change;
use tombolo_core::control::record::Project;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ProjectName;
use tombolo_core::share::Share;
use tombolo_core::time::Timestamp;

use super::*;

pub(super) fn project(number: u64) -> Change {
    Change::PutProject(Project {
        id: ProjectId::from_u128(number.into()),
        name: ProjectName::new(&format!("project-{number}")).unwrap(),
        created_at: Timestamp(0),
        last_build: 0,
        workspace: None,
        retention: None,
        share: Share::default(),
    })
}

pub(super) async fn commit(store: &Postgres, epoch: LeaderEpoch, number: u64) -> Result<(), CommitError> {
    store
        .commit(epoch, Sequence(number), Arc::new(vec![project(number)]))
        .await
}

/// Ends the sessions of masters, as an administrator of the server does.
fn end_sessions(database: &str) {
    let ended = SERVER.sql(
        "postgres",
        &format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'"),
    );
    assert!(ended.contains('t'), "there was a session to end: {ended}");
}

#[tokio::test]
async fn a_second_master_is_refused_until_the_first_is_gone() {
    let name = database(&SERVER);
    let first = open(&SERVER, &name).await;
    let epoch = first.acquire().await.unwrap();
    let location = Location::new(SERVER.url(&name));
    let second = Postgres::open(&location, Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(&second, AcquireError::Held { database } if database.contains(&name)),
        "{second}"
    );
    commit(&first, epoch, 1).await.unwrap();
    drop(first);
    let second = open(&SERVER, &name).await;
    assert!(second.acquire().await.unwrap() > epoch);
    assert_eq!(second.load().await.unwrap().live.projects.len(), 1);
}

/// The lock of the first master is lost with its session, and another one is faster.
#[tokio::test]
async fn the_epoch_fences_a_master_that_has_lost_its_lock() {
    let name = database(&SERVER);
    let first = open(&SERVER, &name).await;
    let epoch = first.acquire().await.unwrap();
    commit(&first, epoch, 1).await.unwrap();
    end_sessions(&name);
    let second = open(&SERVER, &name).await;
    let before = commit(&first, epoch, 2).await;
    assert!(
        matches!(&before, Err(CommitError::Unavailable(reason)) if reason.contains("another master")),
        "{before:?}"
    );
    assert!(matches!(first.acquire().await, Err(AcquireError::Held { .. })));
    second.acquire().await.unwrap();
    drop(second);
    // The lock is free again; what counts is the epoch.
    let until = tokio::time::Instant::now() + PATIENCE;
    let late = loop {
        match commit(&first, epoch, 2).await {
            Err(CommitError::Unavailable(_)) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => break result,
        }
    };
    assert_eq!(late, Err(CommitError::Deposed));
    assert_eq!(first.committed(epoch).await, Err(Error::Deposed));
    assert_eq!(first.append_log(epoch, Vec::new()).await, Err(Error::Deposed));
    assert_eq!(first.load().await.unwrap().live.projects.len(), 1);
}

#[tokio::test]
async fn a_lost_session_is_made_anew() {
    let name = database(&SERVER);
    let store = open(&SERVER, &name).await;
    let epoch = store.acquire().await.unwrap();
    for number in 1..5 {
        let committed = match commit(&store, epoch, number).await {
            // The session was gone before anything was written.
            Err(CommitError::Unavailable(_)) => commit(&store, epoch, number).await,
            result => result,
        };
        assert_eq!(committed, Ok(()), "{number}");
        end_sessions(&name);
        let number = usize::try_from(number).unwrap();
        assert_eq!(store.load().await.unwrap().live.projects.len(), number);
    }
    assert_eq!(store.committed(epoch).await, Ok(Sequence(4)));
}

/// Somebody broke a commit off (a deadline): its session goes, and nothing of it stays.
#[tokio::test]
async fn a_commit_that_is_dropped_is_over_when_the_next_begins() {
    let name = database(&SERVER);
    let store = open(&SERVER, &name).await;
    let epoch = store.acquire().await.unwrap();
    for number in 1..40 {
        let within = Duration::from_micros(150 * number);
        let dropped = tokio::time::timeout(within, commit(&store, epoch, number)).await;
        let last = store.committed(epoch).await.unwrap();
        match dropped {
            Ok(result) => assert_eq!((result, last), (Ok(()), Sequence(number))),
            Err(_) if last == Sequence(number) => {}
            Err(_) => commit(&store, epoch, number).await.unwrap(),
        }
    }
    assert_eq!(store.load().await.unwrap().live.projects.len(), 39);
}

#[tokio::test]
async fn a_server_that_has_lost_commits_ends_the_leadership() {
    let name = database(&SERVER);
    let store = open(&SERVER, &name).await;
    let epoch = store.acquire().await.unwrap();
    for number in 1..=3 {
        commit(&store, epoch, number).await.unwrap();
    }
    SERVER.sql(&name, "UPDATE leadership SET sequence = 2");
    end_sessions(&name);
    assert_eq!(store.committed(epoch).await, Err(Error::Deposed));
    assert_eq!(commit(&store, epoch, 4).await, Err(CommitError::Deposed));
    // A new leadership begins with what is there.
    let next = store.acquire().await.unwrap();
    assert!(next > epoch);
    commit(&store, next, 1).await.unwrap();
}

#[tokio::test]
async fn reads_do_not_wait_for_writes() {
    let name = database(&SERVER);
    let store = open(&SERVER, &name).await;
    let epoch = store.acquire().await.unwrap();
    let other = Target::read(&Location::new(SERVER.url(&name))).unwrap();
    let other = Connection::open(&other, "test").await.unwrap();
    let client = other.client();
    client
        .batch_execute("BEGIN; UPDATE leadership SET singleton = 1")
        .await
        .unwrap();
    let mut commit = std::pin::pin!(commit(&store, epoch, 1));
    let read = async { tokio::time::timeout(Duration::from_secs(15), store.load()).await };
    tokio::select! {
        biased;
        result = &mut commit => panic!("the commit did not wait: {result:?}"),
        read = read => assert!(read.expect("the read does not wait").is_ok()),
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    commit.await.unwrap();
}

/// Logs do not hold commits up, nor the other way round.
#[tokio::test]
async fn logs_and_commits_go_on_side_by_side() {
    let name = database(&SERVER);
    let store = open(&SERVER, &name).await;
    let epoch = store.acquire().await.unwrap();
    let other = Target::read(&Location::new(SERVER.url(&name))).unwrap();
    let other = Connection::open(&other, "test").await.unwrap();
    let begin = "BEGIN; SELECT epoch FROM leadership FOR KEY SHARE";
    other.client().batch_execute(begin).await.unwrap();
    tokio::time::timeout(Duration::from_secs(15), commit(&store, epoch, 1))
        .await
        .expect("the commit does not wait for a log")
        .unwrap();
    // A new leadership does: whoever writes a log under the one before comes to an end first.
    let mut acquire = std::pin::pin!(store.acquire());
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut acquire).await;
    assert!(waited.is_err(), "{waited:?}");
    other.client().batch_execute("COMMIT").await.unwrap();
    assert!(acquire.await.unwrap() > epoch);
}

#[tokio::test]
async fn many_readers_share_connections() {
    let name = database(&SERVER);
    let store = open(&SERVER, &name).await;
    store.acquire().await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let store = store.clone();
        readers.spawn(async move { store.load().await });
    }
    while let Some(result) = readers.join_next().await {
        result.unwrap().unwrap();
    }
    let sessions = SERVER.sql(
        "postgres",
        &format!("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{name}'"),
    );
    let sessions: usize = sessions.parse().unwrap();
    assert!((2..=readers::READERS_MAX + 1).contains(&sessions), "{sessions}");
}

/// A server knows nothing of tables that are new, and plans for small ones.
#[tokio::test]
async fn writing_reads_no_whole_tables() {
    let name = database(&SERVER);
    let store = open(&SERVER, &name).await;
    let turn = store.inner.writer.turn().await.unwrap();
    for (setting, expected) in [
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("plan_cache_mode", "force_generic_plan"),
    ] {
        let shown = turn
            .connection()
            .client()
            .query_one(&format!("SHOW {setting}"), &[])
            .await;
        let shown: String = shown.unwrap().get(0);
        assert_eq!(shown, expected, "{setting} of the session that writes");
    }
    turn.give_back();
    for table in [&table::JOB_STATUS, &table::BUILDS, &table::JOB_PARENTS] {
        for statement in [table.update(), table.delete()] {
            let statement = with_empty_arrays(&statement);
            let plan = SERVER.sql(&name, &format!("{}; EXPLAIN {statement}", writer::PLANS));
            assert!(plan.contains("Index"), "{plan}");
            assert!(!plan.contains("Seq Scan") && !plan.contains("Hash"), "{plan}");
        }
    }
}

/// The statement with an empty array for each of its parameters.
fn with_empty_arrays(statement: &str) -> String {
    let mut parts = statement.split('$');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(|character: char| character.is_ascii_digit());
        format!("{text}'{{}}'{rest}")
    })
}
