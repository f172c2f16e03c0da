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
    assert_eq!(
        misses(0),
        ["project `demo` may run only where `region=eu` holds (it is `us`)"]
    );
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

#[test]
fn what_a_project_requires_is_not_the_jobs_to_leave_out() {
    let mut world = confined("region=asia");
    let (_, jobs) = world.submit(vec![job("a"), job("b").on("region=asia"), job("c").on("gpu>1")]);
    let said = |job: usize| {
        let explanation = world.control.explain(jobs[job]).unwrap();
        (explanation.summary, explanation.advice.unwrap_or_default())
    };
    let widen = "have an administrator widen where its project may run, for builds that are submitted then: `tombolo project set demo --clusters ...`";
    let leave_out = "out of its selector, or `tombolo cluster label east";
    for (job, nearest, miss, advice) in [
        (
            0,
            "east",
            "project `demo` may run only where `region=asia` holds (it is `us`)",
            widen.to_owned(),
        ),
        (
            1,
            "east",
            "selector `region=asia` does not hold (it is `us`)",
            format!("leave `region=asia` {leave_out} region=asia`; {widen}"),
        ),
        (
            2,
            "east",
            "selector `gpu>1` does not hold (it is `1`)",
            format!("leave `gpu>1` {leave_out} gpu=2`; {widen}"),
        ),
    ] {
        let summary = format!("no cluster can run it; the nearest is `{nearest}`: {miss}");
        assert_eq!(
            said(job),
            (summary, format!("to have it fit on cluster `{nearest}`: {advice}"))
        );
    }
}

#[test]
fn the_nearest_cluster_is_one_that_the_project_allows() {
    let mut world = confined("region=eu");
    let (_, jobs) = world.submit(vec![job("a").on("gpu>1")]);
    let explanation = world.control.explain(jobs[0]).unwrap();
    assert_eq!(
        explanation.summary,
        "no cluster can run it; the nearest is `west`: selector `gpu>1` does not hold"
    );
}

#[test]
fn what_an_earlier_build_was_confined_to_is_forgotten_when_it_runs_again() {
    let world = confined("");
    let own = Selector::parse("gpu").unwrap();
    let earlier = Selector::parse("region=eu").unwrap();
    // As it was written before requirements said whose they are, and as it is written now.
    for confined_to in [earlier.clone(), earlier.by_project()] {
        let mut again = job("a").on("gpu");
        again.selector.require(&confined_to);
        again.confined_to = confined_to;
        let mut jobs = [again];
        world.control.confine(PROJECT, &mut jobs);
        assert_eq!((&jobs[0].selector, jobs[0].confined_to.is_empty()), (&own, true));
    }
}

#[test]
fn nobody_is_told_to_call_a_cluster_what_its_project_forbids() {
    let mut world = confined("region=eu");
    let (_, jobs) = world.submit(vec![job("a").on("region=us"), job("b").on("zone=1")]);
    let explanation = world.control.explain(jobs[0]).unwrap();
    assert_eq!(
        explanation.summary,
        "no cluster can ever run it: its selector has `region=us`, and project `demo` may run only where `region=eu` holds"
    );
    assert_eq!(
        explanation.advice.as_deref(),
        Some("leave `region=us` out of its selector")
    );
    assert_eq!(
        explanation.clusters[1].remedy().as_deref(),
        Some("leave `region=us` out of its selector")
    );
    let other = world.control.explain(jobs[1]).unwrap().clusters[1].remedy().unwrap();
    assert!(other.contains("`tombolo cluster label west zone=1`"), "{other}");
}
