//! Projects that may not be everywhere.

use super::super::Command;
use super::super::testing::{PROJECT, World, job};
use super::generated::make;
use crate::build::BuildDefinition;
use crate::label::Selector;
use crate::share::Share;

fn confined(to: &str) -> World {
    let mut world = World::new();
    world.up("east", &["region=us", "gpu=1"], 4);
    world.up("west", &["region=eu"], 4);
    let share = Share {
        clusters: Selector::parse(to).unwrap(),
        ..Share::default()
    };
    world.done(Command::SetShare { id: PROJECT, share });
    world
}

#[test]
fn jobs_keep_to_the_clusters_of_their_project_whatever_they_say() {
    let mut world = confined("region=eu");
    let (_, jobs) = world.submit(vec![job("a"), job("b").preferring("east"), job("c").on("gpu")]);
    assert_eq!(world.states(&jobs), ["assigned", "assigned", "queued"]);
    assert_eq!([world.cluster_of(jobs[0]), world.cluster_of(jobs[1])], ["west", "west"]);
    let explanation = world.control.explain(jobs[2]).unwrap();
    let misses = |cluster: usize| {
        explanation.clusters[cluster]
            .misses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(misses(0), ["selector `region=eu` does not hold (it is `us`)"]);
    assert_eq!(misses(1), ["selector `gpu` does not hold"]);
}

#[test]
fn what_jobs_make_and_what_is_planned_keeps_to_them_too() {
    let mut world = confined("region=eu");
    let (_, jobs) = world.submit(vec![job("maker")]);
    let made = make(&mut world, jobs[0], vec![job("made").preferring("east")]);
    assert_eq!(world.cluster_of(made[0]), "west");

    let definition = BuildDefinition {
        jobs: vec![job("planned").on("gpu")],
    };
    let planned = world.control.plan(PROJECT, definition).unwrap();
    assert!(
        matches!(planned[0].place, crate::control::Place::Nowhere(_)),
        "{planned:?}"
    );
}

#[test]
fn lifting_it_counts_for_later_builds() {
    let mut world = confined("region=nowhere");
    let (_, before) = world.submit(vec![job("a")]);
    world.done(Command::SetShare {
        id: PROJECT,
        share: Share::default(),
    });
    let (_, after) = world.submit(vec![job("a")]);
    assert_eq!(
        (world.states(&before), world.states(&after)),
        (vec!["queued".to_owned()], vec!["assigned".to_owned()])
    );
}
