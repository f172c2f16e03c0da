//! Leases, and clusters that come and go.

use std::time::Duration;

use super::super::testing::{World, cluster, ended, job, orders, running};
use super::super::{Caution, Change, Command, Contact, Refusal};
use crate::attempt::Phase;
use crate::build::TerminalState::Finished;
use crate::id::{Epoch, SessionId};
use crate::label::Labels;
use crate::resources::Resources;
use crate::session::{Nodes, Survey};

const SECOND: Duration = Duration::from_secs(1);

fn contact(world: &World, name: &str) -> Contact {
    world.control.cluster(&cluster(name)).unwrap().contact
}

#[test]
fn a_silent_cluster_loses_what_has_not_started_then_the_rest() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(["a", "b", "c", "d"].map(job).to_vec());
    world.report(jobs[1], Phase::Preparing);
    world.report(jobs[2], running());
    world.report(jobs[3], Phase::Publishing);
    let session = world.session("east");
    world.done(Command::Disconnect {
        cluster: cluster("east"),
        session,
    });
    world.up("west", &[], 4);

    world.pass(29 * SECOND);
    assert_eq!(world.states(&jobs), ["assigned", "preparing", "running", "publishing"]);
    assert_eq!(contact(&world, "east"), Contact::Away);
    world.hello("west", 4, &[]);
    let effects = world.pass(SECOND);
    let expected = ["east: forget 1", "east: forget 1", "west: assign 2", "west: assign 2"];
    assert_eq!(orders(&effects), expected);
    assert_eq!(world.states(&jobs), ["assigned", "assigned", "running", "publishing"]);
    assert_eq!(contact(&world, "east"), Contact::Away);

    for _ in 0..10 {
        let attempts = [world.attempt(jobs[0]), world.attempt(jobs[1])].map(|attempt| (attempt, Phase::Accepted));
        world.hello("west", 4, &attempts);
        assert_eq!(world.states(&jobs[2..]), ["running", "publishing"]);
        world.pass(30 * SECOND - Duration::from_millis(1));
    }
    let attempts = [world.attempt(jobs[0]), world.attempt(jobs[1])].map(|attempt| (attempt, Phase::Accepted));
    world.hello("west", 4, &attempts);
    world.pass(SECOND);
    assert_eq!(world.states(&jobs), ["assigned"; 4]);
    assert_eq!(world.cluster_of(jobs[3]), "west");
    assert_eq!(contact(&world, "east"), Contact::Lost);
    assert!(
        world.seen[&jobs[2]]
            .message
            .contains("cluster `east` was not heard of for 330s")
    );
}

#[test]
fn a_job_waits_for_the_only_cluster_that_fits() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![job("a").on("AWS")]);
    world.pass(30 * SECOND);
    world.hello("west", 1, &[]);
    assert_eq!(world.states(&jobs), ["queued"]);
    let explanation = world.control.explain(jobs[0]).unwrap();
    assert_eq!(explanation.summary, "it waits for `east` to connect");
    world.hello("east", 1, &[]);
    assert_eq!(
        (world.states(&jobs), world.attempt(jobs[0]).epoch),
        (vec!["assigned".to_owned()], Epoch(2))
    );
}

#[test]
fn a_late_heartbeat_renews_without_writing_and_the_rest_follows_at_once() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a")]);
    world.pass(31 * SECOND);
    assert_eq!(world.states(&jobs), ["queued"]);
    let session = world.session("east");
    let heartbeat = Command::Heartbeat {
        cluster: cluster("east"),
        session,
    };
    let effects = world.done(heartbeat);
    assert!(effects.changes.is_empty() && effects.orders.is_empty());
    assert!(world.control.next_deadline().unwrap() <= world.now.steady);
    let effects = world.done(Command::Tick);
    assert_eq!(orders(&effects), ["east: assign 2"]);
    assert!(world.control.next_deadline().unwrap() > world.now.steady);
}

#[test]
fn heartbeats_keep_attempts_for_ever() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a")]);
    let session = world.session("east");
    for _ in 0..100 {
        world.pass(29 * SECOND);
        let cluster = cluster("east");
        world.done(Command::Heartbeat { cluster, session });
    }
    assert_eq!(world.attempt(jobs[0]).epoch, Epoch(1));
}

#[test]
fn a_restart_of_the_master_restarts_the_leases() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("a"), job("b")]);
    world.report(jobs[0], running());
    world.advance(10_000 * SECOND);
    world.restart();
    assert_eq!(contact(&world, "east"), Contact::Away);
    world.pass(29 * SECOND);
    assert_eq!(world.states(&jobs), ["running", "assigned"]);
    world.pass(SECOND);
    assert_eq!(world.states(&jobs), ["running", "queued"]);
    world.pass(300 * SECOND);
    assert_eq!(world.states(&jobs), ["queued", "queued"]);
}

#[test]
fn a_removed_cluster_gives_back_its_attempts_and_takes_its_outputs_along() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    let (_, jobs) = world.submit(vec![
        job("parent"),
        job("queued").after("parent").on("GCP"),
        job("slow"),
        job("waiting").after("parent").after("slow"),
        job("follower").after("queued"),
    ]);
    world.report(jobs[0], ended(Finished));
    world.report(jobs[2], running());
    assert_eq!(
        world.states(&jobs),
        ["finished", "queued", "running", "waiting", "waiting"]
    );
    let name = cluster("east");
    let effects = world.done(Command::RemoveCluster {
        name: name.clone(),
        caution: Caution::None,
    });
    assert!(effects.changes.contains(&Change::DeleteCluster(name.clone())));
    assert_eq!(
        world.states(&jobs),
        ["finished", "error", "queued", "waiting", "skipped"]
    );
    let lost = "the output of its parent `parent` is lost: cluster `east`, which had it, was removed; no other cluster is there that \
                may run the job again";
    assert_eq!(world.seen[&jobs[1]].message, lost);

    world.up("west", &[], 1);
    world.report(jobs[2], ended(Finished));
    assert_eq!(
        world.states(&jobs),
        ["assigned", "error", "finished", "waiting", "skipped"],
        "now there is one"
    );
    assert!(matches!(
        world.refused(Command::RemoveCluster {
            name,
            caution: Caution::None
        }),
        Refusal::NotFound { .. }
    ));
}

#[test]
fn nodes_that_come_make_room_and_nodes_that_are_too_small_do_not() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a").cpu(2000)]);
    assert_eq!(world.states(&jobs), ["queued"]);
    let survey = |largest: u64, session| Command::Survey {
        cluster: cluster("east"),
        session,
        survey: Box::new(Survey {
            capacity: Resources {
                cpu_milli: 4000,
                memory_bytes: 1 << 30,
            },
            nodes: Nodes {
                count: 3,
                allocatable: Resources::default(),
                largest: Resources {
                    cpu_milli: largest,
                    memory_bytes: 1 << 30,
                },
            },
            facts: Labels::from_pairs([("nodes", "3")]).unwrap(),
        }),
    };
    let session = world.session("east");
    let effects = world.done(survey(1500, session));
    assert!(effects.changes.is_empty(), "nothing of it is written");
    assert_eq!(world.states(&jobs), ["queued"]);
    let reason = world.control.waiting_reason(jobs[0]).unwrap();
    assert!(reason.contains("1.5 cpu on its largest node"), "{reason}");
    let labels = world.control.cluster(&cluster("east")).unwrap().labels.clone();
    assert_eq!(labels.get("node.nodes"), Some("3"));

    let old = world.refused(survey(9000, SessionId(0)));
    assert_eq!(old, Refusal::StaleSession);
    world.done(survey(2000, session));
    assert_eq!(world.states(&jobs), ["assigned"]);
}
