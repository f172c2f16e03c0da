//! Clusters that are taken out of use, and back into it.

use super::super::testing::{World, cluster, ended, hello, job, orders, running};
use super::super::{Command, Contact, Present, Refusal};
use crate::attempt::Phase;
use crate::build::TerminalState::Finished;
use crate::id::SessionId;
use crate::placement::Availability::{self, Cordoned, Disabled, Draining, Open};
use crate::placement::Miss;
use crate::volume::VolumeKind::{Shared, Workspace};

fn set(name: &str, availability: Availability, present: Present) -> Command {
    Command::SetAvailability {
        name: cluster(name),
        availability,
        present,
    }
}

#[test]
fn a_cluster_out_of_use_takes_nothing_new_and_keeps_what_it_has_unless_it_is_to_move() {
    for (availability, present, first, orders_given) in [
        (Cordoned, Present::Stay, "east", &[][..]),
        (Draining, Present::Stay, "east", &[]),
        (Cordoned, Present::Move, "west", &["east: forget 1", "west: assign 2"]),
        (Draining, Present::Move, "west", &["east: forget 1", "west: assign 2"]),
        (Disabled, Present::Stay, "west", &["east: forget 1", "west: assign 2"]),
    ] {
        let mut world = World::new();
        world.up("east", &[], 2);
        let (_, jobs) = world.submit(vec![job("a"), job("b").on("cluster=east").after("a")]);
        world.report(jobs[0], running());
        world.up("west", &[], 2);
        let effects = world.done(set("east", availability, present));
        let case = format!("{availability} {present:?}");
        assert_eq!(orders(&effects), orders_given, "{case}");
        assert_eq!(world.cluster_of(jobs[0]), first, "{case}");
        assert_eq!(world.seen[&jobs[0]].replacements, 0, "{case}: nothing was lost");
        world.report(jobs[0], ended(Finished));
        let (_, more) = world.submit(vec![job("c")]);
        assert_eq!(world.cluster_of(more[0]), "west", "{case}");
        let explanation = world.control.explain(jobs[1]).unwrap();
        assert_eq!(
            explanation.clusters[0].misses[0],
            Miss::Closed { availability },
            "{case}"
        );
        let expected = format!("only cluster `east` would do: {}", Miss::Closed { availability });
        assert_eq!(explanation.summary, expected, "{case}");
        world.restart();
        world.done(set("east", Open, Present::Stay));
        world.hello("east", 2, &[]);
        assert_eq!(world.cluster_of(jobs[1]), "east", "{case}");
    }
}

#[test]
fn only_known_clusters_that_take_no_jobs_can_be_emptied() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let refusal = world.refused(set("nowhere", Cordoned, Present::Stay));
    assert!(
        matches!(refusal, Refusal::NotFound { kind: "cluster", .. }),
        "{refusal:?}"
    );
    let refusal = world.refused(set("east", Open, Present::Move));
    assert!(matches!(refusal, Refusal::Conflict(_)), "{refusal:?}");
    assert!(
        world.done(set("east", Open, Present::Stay)).changes.is_empty(),
        "it is so already"
    );
}

#[test]
fn a_build_whose_shared_volume_is_on_a_draining_cluster_ends_there() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a").with(&[Shared]), job("b").with(&[Shared]).after("a")]);
    world.report(jobs[0], running());
    world.up("west", &[], 4);
    world.done(set("east", Draining, Present::Stay));
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.cluster_of(jobs[1]), "east");
    // What it has left in the volume is nowhere else.
    world.report(jobs[1], running());
    let effects = world.done(set("east", Draining, Present::Move));
    assert_eq!(orders(&effects), [""; 0]);
    assert_eq!(world.cluster_of(jobs[1]), "east");
}

#[test]
fn the_first_job_with_a_shared_volume_can_move_and_one_with_a_workspace_cannot() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![job("a").with(&[Shared])]);
    let (_, others) = world.submit(vec![job("b").with(&[Workspace])]);
    world.up("west", &[], 4);
    world.report(jobs[0], running());
    world.done(set("east", Draining, Present::Move));
    assert_eq!(world.cluster_of(jobs[0]), "west");
    assert_eq!(world.cluster_of(others[0]), "east");
}

#[test]
fn a_disabled_cluster_is_refused_and_forgets_its_old_attempts_when_it_comes_back() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("a")]);
    world.report(jobs[0], running());
    let old = world.attempt(jobs[0]);
    world.done(set("east", Disabled, Present::Stay));
    assert_eq!(world.states(&jobs), ["queued"]);
    assert_eq!(world.control.cluster(&cluster("east")).unwrap().contact, Contact::Lost);
    let again = |world: &mut World| Command::Connect {
        cluster: cluster("east"),
        session: SessionId(u64::try_from(world.fresh()).unwrap()),
        hello: Box::new(hello(2, &[(old, running())])),
    };
    let command = again(&mut world);
    let refusal = world.refused(command);
    assert!(refusal.to_string().contains("cluster enable east"), "{refusal}");
    world.done(set("east", Open, Present::Stay));
    let command = again(&mut world);
    let effects = world.done(command);
    assert_eq!(orders(&effects), ["east: forget 1", "east: assign 2"]);
    world.report(jobs[0], Phase::Accepted);
}

#[test]
fn an_output_on_a_disabled_cluster_is_made_again_where_that_is_possible() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("a"), job("b").after("a").on("cluster=west")]);
    world.report(jobs[0], ended(Finished));
    world.done(set("east", Disabled, Present::Stay));
    world.up("west", &[], 2);
    assert_eq!(world.states(&jobs), ["assigned", "waiting"], "the parent runs again");
    assert_eq!(world.cluster_of(jobs[0]), "west");
}
