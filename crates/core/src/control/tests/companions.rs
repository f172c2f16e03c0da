//! Jobs that would rather have some clusters than others, that are spread, and that run beside another one.

use super::super::testing::{PROJECT, World, cluster, ended, job, running};
use super::super::{Caution, Command, Place};
use crate::build::extensions::Preference;
use crate::build::{BuildDefinition, JobSpec, StateSet, TerminalState};
use crate::label::Selector;

fn preferring(name: &str, preferences: &[(&str, u32)]) -> JobSpec {
    let preferences = preferences.iter().map(|(selector, weight)| Preference {
        selector: Selector::parse(selector).unwrap(),
        weight: *weight,
    });
    let mut spec = job(name);
    spec.extensions.get_or_insert_default().preferences = preferences.collect();
    spec
}

fn spread(name: &str) -> JobSpec {
    job(name).spread_over("zone")
}

fn beside(name: &str, other: &str) -> JobSpec {
    job(name).after(other).beside(other)
}

/// Where a plan sends the jobs, and why.
fn plan(world: &World, jobs: Vec<JobSpec>) -> Vec<(String, String)> {
    let planned = world.control.plan(PROJECT, BuildDefinition { jobs }).unwrap();
    let place = |place| match place {
        Place::Cluster { cluster, reason } => (cluster.to_string(), reason),
        Place::Waits(explanation) | Place::Nowhere(explanation) => (String::new(), explanation.summary),
    };
    planned.into_iter().map(|job| place(job.place)).collect()
}

#[test]
fn the_cluster_with_most_weight_is_taken() {
    for (preferences, expected) in [
        (&[("gpu", 10), ("region=eu", 15)][..], "west"),
        (&[("gpu", 10), ("region=eu", 5)], "north"),
        (&[("gpu", 10), ("region=us", 10), ("region=eu", 15)], "north"),
        (&[("gpu, region=eu", 9), ("spot", 1)], "west"),
        (&[("nowhere", 1)], "east"),
    ] {
        let mut world = World::new();
        world.up("east", &[], 8);
        world.up("north", &["gpu", "region=us"], 8);
        world.up("west", &["region=eu", "spot"], 8);
        let planned = plan(&world, vec![preferring("a", preferences)]);
        let (_, jobs) = world.submit(vec![preferring("a", preferences)]);
        assert_eq!(world.cluster_of(jobs[0]), expected, "{preferences:?}");
        assert_eq!(planned[0].0, expected, "{preferences:?}");
        assert_eq!(
            planned[0].1.contains("it prefers it (weight"),
            expected != "east",
            "{planned:?}"
        );
    }
}

#[test]
fn a_preference_keeps_no_job_waiting() {
    let mut world = World::new();
    world.up("east", &[], 2);
    world.up("west", &["gpu"], 1);
    let (_, jobs) = world.submit(vec![preferring("a", &[("gpu", 100)]), preferring("b", &[("gpu", 100)])]);
    assert_eq!(
        (world.cluster_of(jobs[0]).as_str(), world.cluster_of(jobs[1]).as_str()),
        ("west", "east")
    );
    assert!(
        plan(&world, vec![preferring("c", &[("gpu", 100)])])[0]
            .1
            .contains("no other has room")
    );
}

#[test]
fn jobs_are_spread_evenly_over_the_values_of_a_label() {
    let mut world = World::new();
    for (name, zone) in [("a", "zone=1"), ("b", "zone=1"), ("c", "zone=1"), ("d", "zone=2")] {
        world.up(name, &[zone], 8);
    }
    world.up("e", &[], 100);
    let build = || (0..6).map(|index| spread(&format!("j{index}"))).collect::<Vec<_>>();
    let planned: Vec<String> = plan(&world, build()).into_iter().map(|(cluster, _)| cluster).collect();
    let (_, jobs) = world.submit(build());
    let went: Vec<String> = jobs.iter().map(|job| world.cluster_of(*job)).collect();
    for places in [&planned, &went] {
        let count = |name: &str| places.iter().filter(|cluster| *cluster == name).count();
        assert_eq!((count("d"), count("e")), (3, 0), "half of them: {places:?}");
        assert!(["a", "b", "c"].iter().all(|name| count(name) == 1), "{places:?}");
    }
    // What has ended takes no part any more, also after a restart.
    let of_second: Vec<_> = jobs
        .iter()
        .copied()
        .filter(|job| world.cluster_of(*job) == "d")
        .collect();
    for job in of_second {
        world.report(job, ended(TerminalState::Finished));
    }
    world.restart();
    for (name, _) in [("a", 1), ("b", 1), ("c", 1), ("d", 2)] {
        world.hello_again(name, 8);
    }
    let plan = plan(&world, build());
    assert_eq!(
        plan.iter().filter(|(cluster, _)| cluster == "d").count(),
        3,
        "another build begins anew"
    );
}

#[test]
fn a_job_runs_where_the_one_did_that_it_names() {
    let mut world = World::new();
    world.up("east", &[], 1);
    world.up("west", &[], 8);
    let build = || {
        vec![
            job("build").preferring("east"),
            beside("test", "build"),
            beside("more", "build"),
        ]
    };
    assert_eq!(plan(&world, build())[1].1, "the job that `same_as` names goes there");
    let (_, jobs) = world.submit(build());
    world.report(jobs[0], ended(TerminalState::Finished));
    assert_eq!(world.states(&jobs), ["finished", "assigned", "queued"]);
    assert_eq!(world.cluster_of(jobs[1]), "east");
    let explanation = world.control.explain(jobs[2]).unwrap();
    assert_eq!(explanation.summary, "it waits for room on `east`");
    let said = &explanation.clusters[1].misses[0];
    assert_eq!(
        said.to_string(),
        "the job has to run on cluster `east`, as the one did that `same_as` names"
    );
    world.report(jobs[1], running());
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!(world.states(&jobs), ["finished", "error", "error"]);
    let message = &world.seen[&jobs[2]].message;
    assert!(
        message.starts_with("it has to run where `build` did (`same_as`), and that cluster, `east`, was removed"),
        "{message}"
    );
}

#[test]
fn beside_a_job_that_never_ran_is_anywhere() {
    let mut world = World::new();
    let skipped = job("b").after_when("a", StateSet::of(&[TerminalState::Failure]));
    let third = job("c").after_when("b", StateSet::ALL).beside("b");
    let (_, jobs) = world.submit(vec![job("a"), skipped, third]);
    world.up("east", &[], 1);
    world.report(jobs[0], ended(TerminalState::Finished));
    assert_eq!(world.states(&jobs), ["finished", "skipped", "assigned"]);
}
