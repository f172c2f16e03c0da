//! Reports, and what a hello is compared with.

use super::super::testing::{World, cluster, ended, hello, job, orders, outcome, running};
use super::super::{Command, Refusal, Settings};
use crate::attempt::{Outcome, Phase, RouteKind, TransferReceipt};
use crate::build::TerminalState::{self, Error, Finished, Killed};
use crate::id::{AttemptId, Epoch, SessionId};
use crate::time::Timestamp;

#[test]
fn phases_move_forward_only() {
    let phases = [Phase::Accepted, Phase::Preparing, running(), Phase::Publishing];
    let states = ["assigned", "preparing", "running", "publishing"];
    for from in 0..phases.len() {
        for to in 0..phases.len() {
            let mut world = World::new();
            world.up("east", &[], 1);
            let (_, jobs) = world.submit(vec![job("a")]);
            world.report(jobs[0], phases[from].clone());
            let effects = world.report(jobs[0], phases[to].clone());
            assert_eq!(world.states(&jobs), [states[from.max(to)]]);
            assert_eq!(
                effects.changes.is_empty(),
                to <= from,
                "what is known is not written again"
            );
        }
    }
}

#[test]
fn an_end_is_taken_in_with_all_it_says() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a"), job("keeper").on("nowhere")]);
    let receipt = TransferReceipt {
        parent: None,
        cache: false,
        from: None,
        route: RouteKind::Master,
        manifest: super::super::testing::digest(3),
        bytes: 1,
        moved_bytes: 1,
        milliseconds: 1,
        routes: Vec::new(),
        prefetched: false,
        failure: None,
    };
    let end = Outcome {
        message: "exit\n1".to_owned(),
        started_at: Some(Timestamp(4)),
        // An agent's calendar may be ahead.
        ended_at: Timestamp(u64::MAX),
        inputs: vec![receipt.clone(), receipt.clone()],
        ..outcome(TerminalState::Failure)
    };
    let effects = world.report(jobs[0], Phase::Ended(end));
    assert_eq!(orders(&effects), ["east: forget 1"]);
    let status = &world.seen[&jobs[0]];
    assert_eq!(status.state.terminal(), Some(TerminalState::Failure));
    assert_eq!(
        (status.exit_code, status.log_lines, status.message.as_str()),
        (Some(1), Some(3), "exit 1")
    );
    assert_eq!(
        (status.started_at, status.ended_at),
        (Some(Timestamp(4)), Some(world.now.wall))
    );
    assert_eq!(status.inputs, [receipt], "one for the source, and it has no parents");

    let again = world.report(jobs[0], ended(Finished));
    assert_eq!(
        (again.changes.len(), orders(&again)),
        (0, vec!["east: forget 1".to_owned()])
    );
    assert_eq!(world.states(&jobs[..1]), ["failure"], "the first end counts");
}

#[test]
fn an_agent_cannot_skip() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a")]);
    world.report(jobs[0], ended(TerminalState::Skipped));
    assert_eq!(world.states(&jobs), ["error"]);
}

#[test]
fn what_is_stale_is_refused() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 2);
    let (_, jobs) = world.submit(vec![job("a").on("AWS")]);
    let attempt = world.attempt(jobs[0]);
    let other_epoch = AttemptId {
        epoch: Epoch(2),
        ..attempt
    };
    let unknown = AttemptId {
        job: crate::id::JobId::from_u128(5),
        ..attempt
    };
    for (name, attempt) in [("west", attempt), ("east", other_epoch), ("east", unknown)] {
        let effects = world.apply(world.report_command(name, attempt, ended(Finished)));
        assert_eq!(effects.reply, Err(Refusal::StaleAttempt(attempt)));
        assert_eq!(orders(&effects), [format!("{name}: forget {}", attempt.epoch)]);
    }
    for (name, session, refusal) in [
        ("east", SessionId(0), Refusal::StaleSession),
        ("nowhere", SessionId(0), Refusal::not_found("cluster", &"nowhere")),
    ] {
        let cluster = cluster(name);
        let command = Command::Report {
            generated: None,
            cluster,
            session,
            attempt,
            phase: Phase::Preparing,
        };
        assert_eq!(world.refused(command), refusal);
    }
    assert_eq!(world.states(&jobs), ["assigned"]);
}

#[test]
fn a_hello_is_compared_with_what_should_be() {
    let mut world = World::new();
    world.up("east", &[], 5);
    let (_, jobs) = world.submit(["a", "b", "c", "d", "e"].map(job).to_vec());
    world.report(jobs[1], running());
    world.report(jobs[4], running());
    let attempts: Vec<AttemptId> = jobs.iter().map(|job| world.attempt(*job)).collect();
    let stale = AttemptId {
        epoch: Epoch(7),
        ..attempts[0]
    };
    // It has b still, d has ended meanwhile; a never arrived, e got lost; c moved on.
    let effects = world.hello(
        "east",
        5,
        &[
            (attempts[1], running()),
            (attempts[2], Phase::Publishing),
            (attempts[3], ended(Finished)),
            (stale, running()),
        ],
    );
    assert_eq!(
        world.states(&jobs),
        ["assigned", "running", "publishing", "finished", "assigned"]
    );
    let expected = [
        "east: forget 1",
        "east: forget 7",
        "east: assign 1",
        "east: forget 1",
        "east: assign 2",
    ];
    assert_eq!(orders(&effects), expected);
    assert_eq!(
        world.attempt(jobs[0]),
        attempts[0],
        "what never arrived is assigned again as it was"
    );
    let lost = &world.seen[&jobs[4]];
    assert_eq!((lost.epoch, lost.replacements), (Epoch(2), 1));
    assert!(lost.message.contains("does not have it any more"), "{}", lost.message);
}

#[test]
fn a_newer_session_takes_the_place_of_the_older_one() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let old = world.session("east");
    let (_, jobs) = world.submit(vec![job("a")]);
    let attempt = world.attempt(jobs[0]);
    world.hello("east", 1, &[(attempt, Phase::Accepted)]);
    let cluster = cluster("east");
    for command in [
        Command::Heartbeat {
            cluster: cluster.clone(),
            session: old,
        },
        Command::Disconnect {
            cluster: cluster.clone(),
            session: old,
        },
        Command::Connect {
            cluster: cluster.clone(),
            session: old,
            hello: Box::new(hello(1, &[])),
        },
    ] {
        assert_eq!(world.refused(command), Refusal::StaleSession);
    }
    assert!(world.session("east") > old);
}

#[test]
fn a_job_that_is_lost_again_and_again_is_given_up() {
    let settings = Settings {
        max_replacements: 2,
        ..Settings::default()
    };
    let mut world = World::with(settings);
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a")]);
    for epoch in 1..=2 {
        assert_eq!(world.attempt(jobs[0]).epoch, Epoch(epoch));
        world.report(jobs[0], running());
        world.hello("east", 1, &[]);
    }
    world.report(jobs[0], running());
    world.hello("east", 1, &[]);
    let status = &world.seen[&jobs[0]];
    assert_eq!(status.state.terminal(), Some(Error));
    assert_eq!(
        status.message,
        "given up after 3 attempts; cluster `east` does not have it any more"
    );
}

#[test]
fn a_master_that_starts_again_takes_up_where_it_was() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    let (build, jobs) = world.submit(vec![job("a"), job("b").after("a"), job("c"), job("d")]);
    world.report(jobs[0], running());
    world.pass(std::time::Duration::from_secs(1));
    world.restart();
    let attempt = world.attempt(jobs[0]);
    assert!(world.control.current_attempt(attempt).is_some());
    let other = world.attempt(jobs[2]);
    let effects = world.hello("east", 2, &[(attempt, ended(Finished)), (other, Phase::Accepted)]);
    assert_eq!(
        world.states(&jobs),
        ["finished", "queued", "assigned", "assigned"],
        "d was ready before b"
    );
    assert_eq!(orders(&effects), ["east: forget 1", "east: assign 1"]);
    world.report(jobs[3], ended(Finished));
    assert_eq!(
        world.control.assignment(world.attempt(jobs[1])).unwrap().inputs.len(),
        1
    );
    world.report(jobs[2], ended(Killed));
    assert!(world.control.build(build).is_some());
}

#[test]
fn why_an_attempt_waits_is_known_and_never_written() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 2);
    let (_, jobs) = world.submit(vec![job("a").on("AWS"), job("b").on("nowhere")]);
    let attempt = world.attempt(jobs[0]);
    let waits = |world: &World, name: &str, attempt, reason: &str| Command::Waits {
        cluster: cluster(name),
        session: world.session(name),
        attempt,
        reason: reason.to_owned(),
    };
    let reason = |world: &World, index: usize| world.control.waiting_reason(jobs[index]);
    assert_eq!(reason(&world, 0), None);
    assert!(reason(&world, 1).unwrap().contains("no cluster can run it"));

    let effects = world.apply(waits(&world, "east", attempt, "no\nnode"));
    assert!(effects.changes.is_empty() && effects.events.is_empty() && effects.orders.is_empty());
    assert_eq!(reason(&world, 0).as_deref(), Some("no node"));
    let explained = world.control.explain(jobs[0]).unwrap().summary;
    assert_eq!(
        explained,
        "it was given to cluster `east` (no other suited it and had room), and no node"
    );

    // Another cluster, another epoch: not theirs to say.
    let foreign = world.refused(waits(&world, "west", attempt, "mine"));
    assert_eq!(foreign, Refusal::StaleAttempt(attempt));
    let older = AttemptId {
        epoch: Epoch(0),
        ..attempt
    };
    assert_eq!(
        world.refused(waits(&world, "east", older, "old")),
        Refusal::StaleAttempt(older)
    );
    assert_eq!(reason(&world, 0).as_deref(), Some("no node"));

    world.done(waits(&world, "east", attempt, &"x".repeat(5000)));
    assert_eq!(reason(&world, 0).unwrap().len(), 1024);
    world.done(waits(&world, "east", attempt, ""));
    assert_eq!(reason(&world, 0), None);
    world.done(waits(&world, "east", attempt, "again"));
    world.report(jobs[0], ended(Finished));
    assert_eq!(reason(&world, 0), None, "it is over");
}
