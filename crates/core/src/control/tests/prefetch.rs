//! Outputs that travel ahead.

use super::super::Settings;
use super::super::testing::{World, cluster, ended, job, orders, outcome};
use crate::attempt::{Outcome, Phase};
use crate::build::StateSet;
use crate::build::TerminalState::{Failure, Finished};
use crate::id::Epoch;

/// The orders to prefetch that the end of `a` brings, if `b` is still under way and `c` needs both.
fn story(clusters: &[(&str, &[&str])], selector: &str) -> Vec<String> {
    let mut world = World::new();
    for (name, labels) in clusters {
        world.up(name, labels, 2);
    }
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("c").on(selector).after("a").after("b"),
    ]);
    let effects = world.report(jobs[0], ended(Finished));
    orders(&effects)
        .into_iter()
        .filter(|order| order.contains("prefetch"))
        .collect()
}

#[test]
fn an_output_travels_ahead_where_it_is_known_where_to() {
    let (east, west, north): (_, _, (&str, &[&str])) =
        (("east", &["AWS"][..]), ("west", &["GCP"][..]), ("north", &["GCP"]));
    let none: [&str; 0] = [];
    assert_eq!(story(&[east, west], "GCP"), ["west: prefetch"]);
    assert_eq!(story(&[east, west], "AWS"), none, "it is there");
    assert_eq!(story(&[east, west, north], "GCP"), none, "two would do");
    assert_eq!(story(&[east], "GCP"), none, "nobody would");
}

#[test]
fn each_cluster_is_told_once_and_only_of_what_will_be_needed() {
    let mut world = World::new();
    world.up("east", &["AWS"], 3);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("full").on("GCP"),
        job("c").on("GCP").after("a").after("b"),
        job("d").on("GCP").after("a").after("b"),
        job("queued").on("GCP").after("b"),
    ]);
    assert_eq!(
        orders(&world.report(jobs[0], ended(Finished))),
        ["east: forget 1", "west: prefetch"]
    );
    assert_eq!(
        orders(&world.report(jobs[1], ended(Finished))),
        ["east: forget 1", "west: prefetch"],
        "jobs for which there is no room are queued, and their inputs can come already"
    );
    assert_eq!(world.states(&jobs[3..]), ["queued", "queued", "queued"]);
}

#[test]
fn what_is_placed_or_skipped_needs_nothing_ahead() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 2);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("c").on("GCP").after_when("a", StateSet::ALL),
        job("d").on("GCP").after("a").after("b"),
    ]);
    let with_output = Outcome {
        output: outcome(Finished).output,
        ..outcome(Failure)
    };
    assert_eq!(
        orders(&world.report(jobs[0], Phase::Ended(with_output))),
        ["east: forget 1", "west: assign 1"]
    );
}

#[test]
fn clusters_that_come_or_go_are_noticed() {
    let mut world = World::new();
    world.up("east", &["AWS"], 3);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("last").on("AWS"),
        job("c").on("GCP").after("a").after("b").after("last"),
    ]);
    assert_eq!(
        orders(&world.report(jobs[0], ended(Finished))),
        ["east: forget 1", "west: prefetch"]
    );
    world.up("north", &["GCP"], 1);
    assert_eq!(orders(&world.report(jobs[1], ended(Finished))), ["east: forget 1"]);
}

#[test]
fn who_pays_for_each_byte_can_turn_it_off() {
    let mut world = World::with(Settings {
        prefetch: false,
        ..Settings::default()
    });
    world.up("east", &["AWS"], 3);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("c").on("GCP").after("a").after("b"),
    ]);
    assert_eq!(orders(&world.report(jobs[0], ended(Finished))), ["east: forget 1"]);
}

#[test]
fn what_travels_ahead_is_of_the_first_child_that_needs_it_there() {
    let mut world = World::new();
    world.up("east", &["AWS"], 3);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("c").on("AWS").after("a").after("b"),
        job("d").on("GCP").after("a").after("b"),
    ]);
    let child = |world: &mut World, name: &str| {
        let found = world.control.child_in_wait(jobs[0], &cluster(name));
        found.map(|(attempt, parent, ..)| (attempt.job, attempt.epoch, parent.to_string()))
    };
    assert_eq!(child(&mut world, "west"), None, "`a` has not ended");
    world.report(jobs[0], ended(Finished));
    assert_eq!(child(&mut world, "west"), Some((jobs[3], Epoch(0), "a".to_owned())));
    assert_eq!(child(&mut world, "east"), Some((jobs[2], Epoch(0), "a".to_owned())));
    assert_eq!(child(&mut world, "north"), None);
    world.report(jobs[1], ended(Failure));
    assert_eq!(child(&mut world, "west"), None, "`d` is skipped");
}
