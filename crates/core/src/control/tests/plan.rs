//! Where jobs would go: what a plan says comes true when nothing else happens.

use super::super::testing::{PROJECT, World, cluster, ended, job};
use super::super::{Command, Place, PlannedIndexes, PlannedJob, Present, Refusal};
use crate::build::TerminalState::Finished;
use crate::build::hook::Hook;
use crate::build::{BuildDefinition, JobSpec};
use crate::id::ProjectId;
use crate::placement::Availability;
use crate::share::{Limits, Share};
use crate::volume::VolumeKind::{Shared, Workspace};

fn plan(world: &World, jobs: &[JobSpec]) -> Vec<PlannedJob> {
    let jobs = jobs.to_vec();
    world.control.plan(PROJECT, BuildDefinition { jobs }).unwrap()
}

/// `cluster: reason`, `waits: why`, `nowhere: why`.
fn words(planned: &PlannedJob) -> String {
    match &planned.place {
        Place::Cluster { cluster, reason } => format!("{cluster}: {reason}"),
        Place::Waits(explanation) => format!("waits: {}", explanation.summary),
        Place::Nowhere(explanation) => format!("nowhere: {}", explanation.summary),
    }
}

#[test]
fn what_is_planned_comes_true() {
    let mut world = World::new();
    world.up("east", &["AWS"], 3);
    world.up("north", &["AWS", "ssd"], 2);
    world.up("west", &["GCP"], 4);
    let jobs = vec![
        job("a").on("AWS"),
        job("b").on("AWS").cpu(2000),
        job("c").preferring("east"),
        job("d").on("GCP").after("c"),
        job("e").with(&[Shared]),
        job("f").with(&[Shared]).on("AWS").after("e"),
        job("g").with(&[Workspace]).on("ssd").after("c"),
        job("h").with(&[Workspace]).after("g"),
    ];
    let planned = plan(&world, &jobs);
    assert_eq!(planned, plan(&world, &jobs), "a plan changes nothing");
    let (_, ids) = world.submit(jobs);
    for _ in 0..3 {
        for (planned, id) in planned.iter().zip(&ids) {
            if world.state(*id).terminal().is_some() || world.control.assignment(world.attempt(*id)).is_none() {
                continue;
            }
            match &planned.place {
                Place::Cluster { cluster, .. } => assert_eq!(world.cluster_of(*id), cluster.as_str(), "{planned:?}"),
                place => panic!("{place:?}"),
            }
        }
        for id in &ids {
            if world.control.assignment(world.attempt(*id)).is_some() {
                world.report(*id, super::super::testing::running());
                world.report(*id, ended(Finished));
            }
        }
    }
    assert!(ids.iter().all(|id| world.state(*id).terminal().is_some()));
}

#[test]
fn jobs_that_fit_nowhere_say_what_would_help() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 4);
    world.done(Command::SetAvailability {
        name: cluster("west"),
        availability: Availability::Cordoned,
        present: Present::Stay,
    });
    for (spec, expected, advice) in [
        (job("a").on("AWS"), "east: no other has room and suits it", ""),
        (
            job("a").on("AWS, gpu>0"),
            "nowhere: no cluster can run it; the nearest is `east`: selector `gpu>0` does not hold",
            "to have it fit on cluster `east`: leave `gpu>0` out of its selector, or `tombolo cluster label east gpu=1`",
        ),
        (
            job("a").on("AWS").cpu(3000),
            "nowhere: no cluster can run it; the nearest is `east`: it has 2 cpu in all, the job needs 3",
            "to have it fit on cluster `east`: ask for at most 2 cpu, or give the cluster 3",
        ),
        (
            job("a").on("node.os=plan9"),
            "nowhere: no cluster can run it; the nearest is `east`: selector `node.os=plan9` does not hold (it is `linux`)",
            "to have it fit on cluster `east`: leave `node.os=plan9` out of its selector",
        ),
        (
            job("a").on("cluster=south"),
            "nowhere: no cluster can run it; the nearest is `east`: selector `cluster=south` does not hold (it is `east`)",
            "to have it fit on cluster `east`: leave `cluster=south` out of its selector",
        ),
    ] {
        let planned = plan(&world, std::slice::from_ref(&spec));
        assert_eq!(words(&planned[0]), expected);
        let (_, ids) = world.submit(vec![spec]);
        if let Place::Nowhere(explanation) = &planned[0].place {
            assert_eq!(explanation.advice.as_deref(), Some(advice));
            assert_eq!(
                world.control.explain(ids[0]).as_ref(),
                Some(explanation),
                "the queue says the same"
            );
        }
    }
}

#[test]
fn jobs_wait_for_clusters_that_take_none_for_now() {
    use Availability::{Cordoned, Disabled, Draining};
    for (west, north, expected) in [
        (
            Cordoned,
            None,
            "waits: only cluster `west` would do: it is cordoned, and takes no new jobs",
        ),
        (
            Draining,
            None,
            "waits: only cluster `west` would do: it is being drained, and takes no new jobs",
        ),
        (Disabled, None, "waits: only cluster `west` would do: it is disabled"),
        (
            Disabled,
            Some(Cordoned),
            "waits: only clusters `north`, `west` would do, and they take no new jobs",
        ),
    ] {
        let mut world = World::new();
        world.up("east", &["AWS"], 2);
        world.up("west", &["GCP"], 4);
        let closed = [Some(("west", west)), north.map(|north| ("north", north))];
        if north.is_some() {
            world.up("north", &["GCP"], 1);
        }
        for (name, availability) in closed.into_iter().flatten() {
            world.done(Command::SetAvailability {
                name: cluster(name),
                availability,
                present: Present::Stay,
            });
        }
        let spec = job("a").on("GCP");
        let planned = plan(&world, std::slice::from_ref(&spec));
        assert_eq!(words(&planned[0]), expected);
        let (_, ids) = world.submit(vec![spec]);
        let Place::Waits(explanation) = &planned[0].place else {
            panic!("{planned:?}");
        };
        assert_eq!(
            world.control.explain(ids[0]).as_ref(),
            Some(explanation),
            "the queue says the same"
        );
    }
}

#[test]
fn jobs_of_one_build_take_room_from_each_other_and_keep_to_limits() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let jobs = [job("a"), job("b"), job("c"), job("d").after("a")];
    let found: Vec<String> = plan(&world, &jobs).iter().map(words).collect();
    let here = "east: no other has room and suits it";
    assert_eq!(found, [here, here, "waits: it waits for room on `east`", here]);
    let limits = Limits {
        jobs: Some(1),
        ..Limits::default()
    };
    let share = Share {
        limits,
        ..Share::default()
    };
    world.done(Command::SetShare { id: PROJECT, share });
    let found: Vec<String> = plan(&world, &jobs).iter().map(words).collect();
    let waits = "waits: its project `demo` may have 1 job at once, and would have it already";
    assert_eq!(found, [here, waits, waits, here]);
}

#[test]
fn what_cannot_be_submitted_cannot_be_planned() {
    let world = World::new();
    let definition = |jobs| BuildDefinition { jobs };
    let empty = world.control.plan(PROJECT, definition(Vec::new()));
    assert!(matches!(empty, Err(Refusal::NoJobs)), "{empty:?}");
    let mut world = world;
    (0..101).for_each(|number| world.join(&format!("c{number}"), &[]));
    let many = (0..10_000).map(|number| job(&format!("j{number}"))).collect();
    let refused = world.control.plan(PROJECT, definition(many));
    assert!(
        matches!(&refused, Err(Refusal::Limit(message)) if message.contains("9900 jobs are not")),
        "{refused:?}"
    );
    let unknown = world.control.plan(ProjectId::from_u128(77), definition(vec![job("a")]));
    assert!(
        matches!(unknown, Err(Refusal::NotFound { kind: "project", .. })),
        "{unknown:?}"
    );
}

/// Hooks come when the others are over, and take no room from them.
#[test]
fn hooks_are_planned_after_all_others() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let mut cleans = job("cleans").priority(100);
    cleans.set_hook(Some(Hook::After));
    let mut tells = job("tells");
    tells.set_hook(Some(Hook::OnError));
    let jobs = [cleans, tells, job("a"), job("b"), job("c").after("a")];
    for planned in plan(&world, &jobs) {
        assert!(words(&planned).starts_with("east: "), "{planned:?}");
    }
}

#[test]
fn a_job_waits_with_the_one_that_it_has_to_run_beside() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 2);
    world.done(Command::SetAvailability {
        name: cluster("east"),
        availability: Availability::Cordoned,
        present: Present::Stay,
    });
    let jobs = [job("a").on("AWS"), job("b").after("a").beside("a"), job("c").after("a")];
    let planned: Vec<String> = plan(&world, &jobs).iter().map(words).collect();
    assert!(planned[0].starts_with("waits: "), "{planned:?}");
    assert_eq!(
        planned[1],
        "waits: it runs where `a` does (`same_as`), which has no cluster yet"
    );
    assert!(planned[2].starts_with("west: "), "{planned:?}");
}

/// A cluster that was there is judged by what it had.
#[test]
fn what_a_cluster_that_is_away_never_had_room_for_fits_nowhere() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let east = cluster("east");
    let session = world.session("east");
    world.done(Command::Disconnect { cluster: east, session });
    let jobs = [job("small"), job("large").cpu(1_000_000_000)];
    let planned: Vec<String> = plan(&world, &jobs).iter().map(words).collect();
    assert!(planned[0].starts_with("waits: "), "{planned:?}");
    assert!(planned[1].starts_with("nowhere: "), "{planned:?}");
}

#[test]
fn where_the_indexes_of_an_array_would_go_is_counted() {
    let mut world = World::new();
    world.up("east", &["AWS"], 3);
    world.up("west", &["GCP"], 2);
    let counted = |job: JobSpec| plan(&world, &[job])[0].indexes.clone();
    assert_eq!(counted(job("a")), None, "it is no array");
    for (case, array, placed, left, not_looked_at) in [
        ("all", job("a").times(4), vec![("east", 2), ("west", 2)], 0, 0),
        ("one", job("a").times(1), vec![("east", 1)], 0, 0),
        ("some wait", job("a").times(7), vec![("east", 3), ("west", 2)], 2, 0),
        (
            "not more at once",
            job("a").times_at_once(7, Some(2)).on("AWS"),
            vec![("east", 2)],
            0,
            5,
        ),
        ("nowhere", job("a").times(7).on("gpu"), vec![], 7, 0),
    ] {
        let placed = placed.into_iter().map(|(name, count)| (cluster(name), count));
        let expected = PlannedIndexes {
            count: array.array().unwrap().count,
            placed: placed.collect(),
            left,
            not_looked_at,
        };
        assert_eq!(counted(array), Some(expected), "{case}");
    }
}

#[test]
fn a_job_that_is_placed_has_the_clusters_that_were_compared() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 4);
    let planned = plan(&world, &[job("a").on("AWS"), job("b").on("AWS")]);
    let listed = |job: usize| -> Vec<(&str, usize)> {
        let all = planned[job].compared.iter();
        all.map(|verdict| (verdict.cluster.as_str(), verdict.misses.len()))
            .collect()
    };
    assert_eq!(listed(0), [("east", 0), ("west", 1)]);
    assert_eq!(listed(1), [], "one that waits has them with its explanation");
}
