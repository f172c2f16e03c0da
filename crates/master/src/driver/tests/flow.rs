//! What the driver does while all goes well, and when time passes.

use std::time::Duration;

use tombolo_core::attempt::{Phase, RouteKind};
use tombolo_core::build::{BuildState, JobState, TerminalState};
use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::control::{Caution, Command, EventKind, Refusal};
use tombolo_core::id::{AttemptId, BuildId, Epoch};
use tombolo_core::session::{AttemptReport, OrderFrame};
use tombolo_core::time::Timestamp;
use tombolo_store::Store;

use super::super::{ApplyError, Subscription, Watched};
use super::world::{Agent, PROJECT, World, chain, cluster, finished, flat, job_id};

/// The next change of a job: its name and state.
async fn next_job(events: &mut Subscription) -> (String, JobState) {
    loop {
        let Some(Watched::Event(event)) = events.next().await else {
            panic!("the events go on")
        };
        if let EventKind::Job { name, status } = &event.event.kind {
            return (name.to_string(), status.state);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn build_goes_from_submission_to_its_end() {
    let world = World::new().await;
    world.join("east").await;
    world.join("western").await;
    let mut east = Agent::connect(&world, "east", Vec::new()).await;
    let mut events = world.handle.subscribe(BuildId::from_u128(10)).await.unwrap();
    let build = world.submit(10, chain(&["a", "b"])).await.unwrap();
    assert_eq!(
        world.store.build(build.id).await.unwrap(),
        Some(build.clone()),
        "it is durable when it is answered"
    );

    let first = east.assigned().await;
    assert_eq!(first.attempt.job, job_id(10, 0));
    assert_eq!(
        (first.job.name.as_str(), first.job.environment["NAME"].as_str()),
        ("a", "a")
    );
    assert_eq!(
        (first.build.number, first.build.project, first.build.build),
        (1, PROJECT, build.id)
    );
    assert_eq!(
        (first.build.project_name.as_str(), first.build.public_url.as_str()),
        ("home", "https://tombolo.example")
    );
    assert_eq!(first.build.revision, build.revision);
    let source = first.source.clone().unwrap();
    assert_eq!(Some(source.manifest), build.source);
    assert_eq!(
        source.grant,
        format!("east may read 505050505050 of {PROJECT}").into_bytes()
    );
    assert!(first.inputs.is_empty() && first.parents.is_empty());

    // The second one runs elsewhere; its specification is read from the store.
    east.report(first.attempt, Phase::Preparing).await.unwrap();
    let stale = Command::Disconnect {
        cluster: cluster("east"),
        session: tombolo_core::id::SessionId(1),
    };
    let _ = world.handle.apply(stale).await;
    east.finish(first.attempt).await;
    let second = loop {
        match east.orders.recv().await.unwrap() {
            OrderFrame::Assign(assignment) => break *assignment,
            OrderFrame::Forget(attempt) => assert_eq!(attempt, first.attempt),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(second.job.name.as_str(), "b");
    let [input] = second.inputs.as_slice() else {
        panic!("{:?}", second.inputs)
    };
    assert_eq!((input.job, input.name.as_str()), (first.attempt.job, "a"));
    assert_eq!(Some(input.output), finished().output);
    assert_eq!(
        input.grant,
        format!("east may read 0f0f0f0f0f0f of {PROJECT}").into_bytes()
    );
    assert_eq!(input.sources[0].peer_address.as_deref(), Some("east.example:7445"));
    assert_eq!(second.parents[0].state, TerminalState::Finished);
    east.finish(second.attempt).await;

    let stored = world.store.build(build.id).await.unwrap().unwrap();
    assert_eq!(stored.state, BuildState::Terminal(TerminalState::Finished));
    let mut seen = Vec::new();
    while seen.last() != Some(&("b".to_owned(), JobState::Terminal(TerminalState::Finished))) {
        seen.push(next_job(&mut events).await);
    }
    assert!(seen.contains(&("a".to_owned(), JobState::Preparing)), "{seen:?}");
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn thousand_commands_cost_few_commits() {
    let world = World::new().await;
    let before = world.store.commits();
    let results = futures::future::join_all((10..1010).map(|seed| world.create_project(seed))).await;
    assert!(results.iter().all(Result::is_ok));
    let commits = world.store.commits() - before;
    assert!((1..=20).contains(&commits), "{commits}");
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn heartbeats_and_refusals_write_nothing() {
    let world = World::new().await;
    world.join("east").await;
    let agent = Agent::connect(&world, "east", Vec::new()).await;
    let before = world.store.commits();
    for _ in 0..10 {
        agent.heartbeat().await.unwrap();
        let again = world.create_project(1).await;
        assert!(
            matches!(again, Err(ApplyError::Refused(Refusal::Exists { .. }))),
            "{again:?}"
        );
    }
    assert_eq!(world.store.commits(), before);
    let connect = Command::Connect {
        cluster: cluster("east"),
        session: agent.session,
        hello: Box::new(tombolo_core::session::Hello {
            version: String::new(),
            capacity: tombolo_core::resources::Resources::default(),
            slots: 0,
            capabilities: Vec::new(),
            facts: tombolo_core::label::Labels::default(),
            peer_address: None,
            volumes: Vec::new(),
            attempts: Vec::new(),
        }),
    };
    let refused = world.handle.apply(connect).await;
    assert!(matches!(refused, Err(ApplyError::Refused(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn new_session_ends_the_old_one() {
    let world = World::new().await;
    world.join("east").await;
    let mut old = Agent::connect(&world, "east", Vec::new()).await;
    let new = Agent::connect(&world, "east", Vec::new()).await;
    assert!(new.session > old.session);
    assert_eq!(old.orders.recv().await, None);
    assert!(!new.orders.is_closed());
    world
        .handle
        .apply(Command::RemoveCluster {
            name: cluster("east"),
            caution: Caution::None,
        })
        .await
        .unwrap();
    assert!(new.orders.is_closed(), "the sessions of a cluster that was removed end");
}

/// An agent that does not take its orders: its session ends, and at the next one it is brought up to date.
#[tokio::test(start_paused = true)]
async fn slow_session_ends() {
    let world = World::new().await;
    world.join("east").await;
    let mut slow = Agent::connect(&world, "east", Vec::new()).await;
    let mut ended = false;
    for number in 0..10_000 {
        let unknown = AttemptId {
            job: job_id(99, number),
            epoch: Epoch(1),
        };
        // Each is answered with the order to forget it.
        if slow.report(unknown, Phase::Accepted).await == Err(ApplyError::Refused(Refusal::StaleSession)) {
            ended = true;
            break;
        }
    }
    assert!(ended, "the control plane knows that the session is over");
    let mut orders = 0;
    while slow.orders.recv().await.is_some() {
        orders += 1;
    }
    assert!((1000..2000).contains(&orders), "{orders} orders were waiting");
    let mut next = Agent::connect(&world, "east", Vec::new()).await;
    world.submit(10, flat(1)).await.unwrap();
    next.assigned().await;
}

#[tokio::test(start_paused = true)]
async fn lost_cluster_is_noticed_as_time_passes() {
    let world = World::new().await;
    world.join("east").await;
    world.join("western").await;
    let mut east = Agent::connect(&world, "east", Vec::new()).await;
    let mut events = world.handle.subscribe(BuildId::from_u128(10)).await.unwrap();
    world.submit(10, flat(1)).await.unwrap();
    let first = east.assigned().await;
    while next_job(&mut events).await.1 != JobState::Assigned {}
    // Nobody says anything any more; the lease ends, and the attempt, which was not begun, with it.
    assert_eq!(next_job(&mut events).await.1, JobState::Queued);
    let mut west = Agent::connect(&world, "western", Vec::new()).await;
    let second = west.assigned().await;
    assert_eq!(
        (second.attempt.job, second.attempt.epoch),
        (first.attempt.job, first.attempt.epoch.next())
    );
    world.check().await;
}

#[tokio::test(start_paused = true)]
async fn restarted_master_keeps_running_jobs() {
    let world = World::new().await;
    world.join("east").await;
    let mut east = Agent::connect(&world, "east", Vec::new()).await;
    world.submit(10, chain(&["a", "b"])).await.unwrap();
    let attempt = east.assigned().await.attempt;
    let running = Phase::Running {
        started_at: Timestamp(1),
        inputs: Vec::new(),
    };
    east.report(attempt, running.clone()).await.unwrap();
    let (last_session, numbers) = (
        east.session,
        world.handle.subscribe(BuildId::from_u128(10)).await.unwrap(),
    );

    let world = world.restart().await;
    let report = AttemptReport {
        attempt,
        phase: running,
    };
    let mut east = Agent::connect(&world, "east", vec![report]).await;
    assert!(east.session > last_session);
    assert!(world.handle.subscribe(BuildId::from_u128(10)).await.unwrap().sequence() > numbers.sequence());
    east.finish(attempt).await;
    let second = loop {
        match east.orders.recv().await.unwrap() {
            OrderFrame::Assign(assignment) => break *assignment,
            OrderFrame::Forget(forgotten) => assert_eq!(forgotten, attempt),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((second.job.name.as_str(), second.attempt.epoch), ("b", Epoch(1)));
    assert_eq!(second.inputs[0].sources[0].cluster, cluster("east"));
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_of_own_attempts_only() {
    let world = World::new().await;
    world.join("east").await;
    let mut east = Agent::connect(&world, "east", Vec::new()).await;
    world.submit(10, flat(1)).await.unwrap();
    let attempt = east.assigned().await.attempt;
    let mut events = world.handle.subscribe(BuildId::from_u128(10)).await.unwrap();
    let before = world.store.commits();
    let progress = |done_bytes| TransferProgress {
        recipient: Recipient::Attempt(attempt),
        parent: None,
        from: None,
        route: RouteKind::Master,
        bytes: 100,
        done_bytes,
        moved_bytes: 0,
        milliseconds: 1,
    };
    world.handle.progress(cluster("western"), progress(1));
    world.handle.progress(cluster("east"), progress(2));
    let Some(Watched::Event(event)) = events.next().await else {
        panic!("an event")
    };
    let expected = EventKind::Progress {
        attempt,
        progress: progress(2),
    };
    assert_eq!(event.event.kind, expected);
    assert_eq!(world.store.commits(), before);
}

#[tokio::test(start_paused = true)]
async fn slow_watcher_is_told_that_it_missed_something() {
    let world = World::new().await;
    let mut events = world.handle.subscribe(BuildId::from_u128(10)).await.unwrap();
    world.submit(10, flat(2000)).await.unwrap();
    assert!(matches!(events.next().await, Some(Watched::Lagged)));
    assert!(matches!(events.next().await, Some(Watched::Event(_))));
}

#[tokio::test(start_paused = true)]
async fn driver_ends_with_its_last_handle_and_when_it_is_told() {
    let world = World::new().await;
    drop(world.handle);
    world.task.await.unwrap().unwrap();

    let world = World::new().await;
    world.stop.cancel();
    world.task.await.unwrap().unwrap();
    let late = world.handle.query(|control| control.projects().count()).await;
    assert_eq!(late, Err(ApplyError::Stopping));
    let name = tombolo_core::name::ProjectName::new("late").unwrap();
    let command = Command::CreateProject { id: PROJECT, name };
    assert_eq!(world.handle.apply(command).await, Err(ApplyError::Stopping));
}

/// The driver is held up for longer than the lease (a slow commit, a suspended machine). What agents said meanwhile is heard
/// before their leases are found to have ended.
#[tokio::test(start_paused = true)]
async fn held_up_driver_hears_before_it_judges() {
    let world = World::new().await;
    world.join("east").await;
    let mut east = Agent::connect(&world, "east", Vec::new()).await;
    world.submit(10, flat(1)).await.unwrap();
    let attempt = east.assigned().await.attempt;
    for _ in 0..3 {
        let (heartbeat, ()) = tokio::join!(east.heartbeat(), tokio::time::advance(Duration::from_secs(40)));
        heartbeat.unwrap();
    }
    let connected = world.handle.query(move |control| {
        let contact = control.cluster(&cluster("east")).unwrap().contact;
        (
            contact == tombolo_core::control::Contact::Connected,
            control.current_attempt(attempt).is_some(),
        )
    });
    assert_eq!(connected.await, Ok((true, true)));
}

/// Heartbeats wait a moment for others, and no longer than for anything else that the driver is woken for.
#[tokio::test(start_paused = true)]
async fn heartbeats_are_taken_together_and_hold_nothing_up() {
    let world = World::new().await;
    world.join("east").await;
    let east = Agent::connect(&world, "east", Vec::new()).await;
    let began = tokio::time::Instant::now();
    east.heartbeat().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "the first one waits for nobody");
    let (first, second) = tokio::join!(east.heartbeat(), east.heartbeat());
    assert!(first.is_ok() && second.is_ok());
    let waited = began.elapsed();
    assert!(
        waited > Duration::ZERO && waited < Duration::from_millis(50),
        "{waited:?}"
    );
    let (heartbeat, project) = tokio::join!(east.heartbeat(), world.create_project(5));
    assert!(heartbeat.is_ok() && project.is_ok());
    assert_eq!(began.elapsed(), waited, "who wakes the driver has all of them heard");
}
