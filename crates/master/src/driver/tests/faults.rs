//! What the driver does when the store fails.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tombolo_core::control::{Change, Command, Refusal};
use tombolo_core::id::{BuildId, ProjectId};
use tombolo_core::name::ProjectName;
use tombolo_store::Sqlite;
use tombolo_store::faulty::Fault::{After, Before, Lost};
use tombolo_store::faulty::Faulty;
use tombolo_store::sqlite::Execution;

use super::super::{ApplyError, Error, Report, Reports};
use super::world::{Agent, World, flat};

/// Whatever happens to a commit, it is made once, as long as the store is back in time.
#[tokio::test(start_paused = true)]
async fn faults_that_pass_are_not_noticed() {
    let none = Vec::new();
    for (what, commits, reads) in [
        ("refused", vec![Some(Before)], none.clone()),
        ("refused for some time", vec![Some(Before); 5], none.clone()),
        ("unknown, and not there", vec![Some(Lost)], none.clone()),
        ("unknown, and there", vec![Some(After)], none.clone()),
        ("unknown, not there, and there", vec![Some(Lost), Some(After)], none),
        // The commit is tried again, and found to be one too many.
        (
            "unknown, there, and not read back",
            vec![Some(After)],
            vec![Some(Before)],
        ),
        (
            "unknown, not there, and not read back",
            vec![Some(Lost), Some(Before)],
            vec![Some(Before)],
        ),
    ] {
        let world = World::new().await;
        world.join("east").await;
        let agent = Agent::connect(&world, "east", Vec::new()).await;
        let before = world.store.commits();
        world.store.fail_commits(commits);
        world.store.fail_reads(reads);
        let (one, two) = tokio::join!(world.create_project(10), world.create_project(11));
        assert!(one.is_ok() && two.is_ok(), "{what}: {one:?} {two:?}");
        assert_eq!(world.stored_projects().await.len(), 3, "{what}");
        assert_eq!(world.store.commits() - before, 1, "{what}");
        assert_eq!(world.store.leaderships(), 1, "{what}: nothing was begun anew");
        assert!(!agent.orders.is_closed(), "{what}: no session ended");
        world.check().await;
    }
}

/// Nothing is visible before it is durable.
#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_commit() {
    let world = World::new().await;
    world.join("east").await;
    let mut agent = Agent::connect(&world, "east", Vec::new()).await;
    let mut events = world.handle.subscribe(BuildId::from_u128(10)).await.unwrap();
    let began = Instant::now();
    world.store.fail_commits([Some(Before); 6]);
    let (build, query) = tokio::join!(
        world.submit(10, flat(1)),
        // Comes while the commit is tried: it waits, and then sees the build, which is stored then.
        async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            world.handle.query(|control| control.builds().count()).await
        }
    );
    assert!(
        build.is_ok() && began.elapsed() > Duration::from_millis(20),
        "{build:?} after {:?}",
        began.elapsed()
    );
    assert_eq!(query, Ok(1));
    events.next().await.unwrap();
    agent.assigned().await;

    // Given up: neither events nor orders nor answers of it.
    world.store.leave();
    assert_eq!(world.submit(11, flat(1)).await, Err(ApplyError::Unavailable));
    world.store.come_back();
    assert_eq!(agent.orders.recv().await, None, "no order, and the session ends");
    while let Some(event) = events.next().await {
        assert!(
            format!("{event:?}").contains(&BuildId::from_u128(10).to_string()),
            "{event:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn poisonous_commands_alone_are_refused() {
    let world = World::new().await;
    world.join("east").await;
    let agent = Agent::connect(&world, "east", Vec::new()).await;
    let poison = [10, 77, 78, 209];
    world.store.reject(move |change| match change {
        Change::PutProject(project) => poison.iter().any(|seed| project.id == ProjectId::from_u128(*seed)),
        _ => false,
    });
    let seeds: Vec<u128> = (10..210).collect();
    let results = futures::future::join_all(seeds.iter().map(|seed| world.create_project(*seed))).await;
    for (seed, result) in seeds.iter().zip(results) {
        match poison.contains(seed) {
            true => assert!(
                matches!(result, Err(ApplyError::Refused(Refusal::Conflict(_)))),
                "{seed}: {result:?}"
            ),
            false => assert!(result.is_ok(), "{seed}: {result:?}"),
        }
    }
    assert_eq!(world.stored_projects().await.len(), 1 + seeds.len() - poison.len());
    assert!(
        world.store.leaderships() < 60,
        "{} leaderships",
        world.store.leaderships()
    );
    assert!(world.store.commits() < 60, "{} commits", world.store.commits());
    world.check().await;
    // Memory was dropped, and the session with it. The agent comes back.
    assert!(agent.orders.is_closed());
    let next = Agent::connect(&world, "east", Vec::new()).await;
    assert!(next.session > agent.session);
    next.heartbeat().await.unwrap();
}

/// A connection in a batch that is rejected lives on: it is made again with the rest of the batch.
#[tokio::test(start_paused = true)]
async fn connection_beside_poison_is_made() {
    let world = World::new().await;
    world.join("east").await;
    world.store.reject(|change| matches!(change, Change::PutProject(_)));
    let (agent, poison) = tokio::join!(Agent::try_connect(&world, "east", Vec::new()), world.create_project(10));
    assert!(matches!(poison, Err(ApplyError::Refused(_))), "{poison:?}");
    // Either it was made after the poison was found, or it has to come once more, as after any lost connection.
    let mut agent = agent.unwrap();
    if agent.orders.is_closed() {
        agent = Agent::connect(&world, "east", Vec::new()).await;
    }
    agent.heartbeat().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn store_that_is_away_is_told_and_waited_for() {
    for durable in [false, true] {
        let world = World::new().await;
        world.join("east").await;
        let agent = Agent::connect(&world, "east", Vec::new()).await;
        let mut events = world.handle.subscribe(BuildId::from_u128(10)).await.unwrap();
        if durable {
            // It is written, but nobody learns it before the store is away.
            world.store.fail_commits([Some(After)]);
            world.store.fail_reads(vec![Some(Before); 100]);
        }
        let began = Instant::now();
        let leave = async {
            tokio::task::yield_now().await;
            world.store.leave();
        };
        if !durable {
            world.store.leave();
        }
        let (result, ()) = tokio::join!(world.create_project(10), leave);
        assert_eq!(result, Err(ApplyError::Unavailable));
        let waited = began.elapsed();
        assert!(
            (Duration::from_secs(10)..Duration::from_secs(30)).contains(&waited),
            "{waited:?}"
        );
        assert!(events.next().await.is_none(), "watchers have to look again");
        assert!(agent.orders.is_closed(), "agents have to come again");

        // While it is away, everyone is told at once.
        let began = Instant::now();
        assert_eq!(world.create_project(11).await, Err(ApplyError::Unavailable));
        assert_eq!(world.handle.query(|_| ()).await, Err(ApplyError::Unavailable));
        assert!(matches!(
            Agent::try_connect(&world, "east", Vec::new()).await,
            Err(ApplyError::Unavailable)
        ));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(600)).await;

        world.store.come_back();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(world.stored_projects().await.len(), 1 + usize::from(durable));
        world.check().await;
        world.create_project(12).await.unwrap();
        Agent::connect(&world, "east", Vec::new())
            .await
            .heartbeat()
            .await
            .unwrap();
        world.check().await;
    }
}

#[tokio::test(start_paused = true)]
async fn deposed_driver_ends() {
    let world = World::new().await;
    let other = World::on(world.store.clone()).await;
    let result = world.create_project(10).await;
    assert_eq!(result, Err(ApplyError::Stopping));
    assert!(matches!(world.task.await.unwrap(), Err(Error::Deposed)));
    other.create_project(10).await.unwrap();
}

/// Specifications that cannot be read: the order is not sent, the session ends, and the next one brings it.
#[tokio::test(start_paused = true)]
async fn unreadable_specification_ends_the_session() {
    let world = World::new().await;
    world.join("east").await;
    world.submit(10, flat(1)).await.unwrap();
    world.store.fail_reads([Some(Before)]);
    let mut first = Agent::connect(&world, "east", Vec::new()).await;
    assert_eq!(first.orders.recv().await, None);
    let mut second = Agent::connect(&world, "east", Vec::new()).await;
    assert_eq!(second.assigned().await.job.name.as_str(), "job-0");
}

/// The driver is told to stop while the store is away: it does not wait for it.
#[tokio::test(start_paused = true)]
async fn stop_does_not_wait_for_the_store() {
    let world = World::new().await;
    world.store.leave();
    assert_eq!(world.create_project(10).await, Err(ApplyError::Unavailable));
    world.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), world.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

/// Probes are answered by what it says, since it answers nobody itself then.
#[tokio::test(start_paused = true)]
async fn driver_whose_commits_fail_says_so_until_they_do_not() {
    let store = Faulty::new(Sqlite::in_memory(Execution::Inline).unwrap());
    let (said, mut hears) = watch::channel(Report::Works);
    let reports = Reports::to(move |report| {
        said.send_replace(report);
    });
    let (handle, driver) = World::driver_that(&store, reports).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(driver.run(stop.clone()));
    let create = async |seed| {
        let id = ProjectId::from_u128(seed);
        let name = ProjectName::new(&format!("project-{seed}")).unwrap();
        handle.apply(Command::CreateProject { id, name }).await
    };
    create(1).await.unwrap();
    assert_eq!(*hears.borrow_and_update(), Report::Works);
    store.leave();
    assert_eq!(create(2).await, Err(ApplyError::Unavailable));
    assert_eq!(*hears.borrow_and_update(), Report::Stalls);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(*hears.borrow(), Report::Stalls);
    store.come_back();
    drop(hears.wait_for(|report| *report == Report::Works).await.unwrap());
    create(3).await.unwrap();
    stop.cancel();
    task.await.unwrap().unwrap();
}
