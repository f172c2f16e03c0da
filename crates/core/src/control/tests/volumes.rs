//! Jobs that work with volumes run where these are, and volumes go when nobody will use them.

use super::super::testing::{PROJECT, World, cluster, ended, hello, job, orders, running};
use super::super::{Caution, Command};
use crate::build::StateSet;
use crate::build::TerminalState::{Failure, Finished, Killed};
use crate::id::{BuildId, ProjectId, SessionId};
use crate::name::ProjectName;
use crate::placement::Miss;
use crate::session::Hello;
use crate::volume::VolumeId;
use crate::volume::VolumeKind::{Shared, Workspace};
use std::time::Duration;

/// The cluster's agent connects, and has these volumes.
fn hello_with(world: &mut World, name: &str, volumes: Vec<VolumeId>) -> Vec<String> {
    let session = SessionId(u64::try_from(world.fresh()).unwrap());
    let hello = Box::new(Hello {
        volumes,
        ..hello(4, &[])
    });
    let cluster = cluster(name);
    orders(&world.done(Command::Connect {
        cluster,
        session,
        hello,
    }))
}

#[test]
fn jobs_that_share_a_volume_run_on_one_cluster_that_suits_them_all() {
    let mut world = World::new();
    // The emptiest at first sight suits one of them only.
    world.up("big", &[], 8);
    world.up("gpu", &["gpu=1"], 2);
    let (_, jobs) = world.submit(vec![
        job("a").with(&[Shared]),
        job("b").with(&[Shared]).on("gpu>0").after("a"),
        job("c"),
    ]);
    assert_eq!(world.cluster_of(jobs[0]), "gpu");
    assert_eq!(world.cluster_of(jobs[2]), "big", "others go where they like");
    world.report(jobs[0], running());
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.cluster_of(jobs[1]), "gpu");
    world.report(jobs[1], running());
    world.report(jobs[2], ended(Finished));
    let effects = world.report(jobs[1], ended(Failure));
    assert_eq!(
        orders(&effects),
        ["gpu: forget 1", "gpu: release shared"],
        "gone with its build"
    );
}

#[test]
fn one_that_is_too_large_for_the_first_keeps_all_of_them_away() {
    let mut world = World::new();
    world.up("small", &[], 1);
    let (_, jobs) = world.submit(vec![
        job("a").with(&[Shared]),
        job("b").with(&[Shared]).cpu(2000).after("a"),
    ]);
    let explanation = world.control.explain(jobs[0]).unwrap();
    assert!(
        matches!(&explanation.clusters[0].misses[..], [Miss::TooSmall { .. }]),
        "{explanation:?}"
    );
    world.up("large", &[], 4);
    assert_eq!(world.cluster_of(jobs[0]), "large");
}

#[test]
fn whoever_is_queued_follows_when_the_first_is_placed() {
    let mut world = World::new();
    let (_, jobs) = world.submit((0..3).map(|index| job(&format!("j{index}")).with(&[Shared])).collect());
    world.up("one", &[], 1);
    world.up("many", &[], 8);
    // `one` was there first, and has room for one of them.
    let places: Vec<_> = jobs.iter().map(|job| world.cluster_of(*job)).collect();
    assert_eq!(places, ["one", "", ""]);
    let waits = world.control.waiting_reason(jobs[1]).unwrap();
    assert_eq!(waits, "it waits for room on `one`");
    let misses = &world.control.explain(jobs[1]).unwrap().clusters;
    let many = misses
        .iter()
        .find(|verdict| verdict.cluster == cluster("many"))
        .unwrap();
    assert_eq!(
        many.misses[0].to_string(),
        "the shared volume of the build is on cluster `one`"
    );
    world.restart();
    world.hello("many", 8, &[]);
    let first = world.attempt(jobs[0]);
    world.hello("one", 1, &[(first, running())]);
    assert_eq!(world.cluster_of(jobs[1]), "", "also after a restart");
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.cluster_of(jobs[1]), "one");
}

#[test]
fn clusters_that_keep_none_are_left_alone() {
    let mut world = World::new();
    world.join("bare", &[]);
    let session = SessionId(1);
    let hello = Box::new(Hello {
        capabilities: Vec::new(),
        ..hello(4, &[])
    });
    world.done(Command::Connect {
        cluster: cluster("bare"),
        session,
        hello,
    });
    let (_, jobs) = world.submit(vec![job("a").with(&[Workspace])]);
    assert_eq!(
        world.control.waiting_reason(jobs[0]).unwrap(),
        "no cluster can run it; the nearest is `bare`: it keeps no volumes for jobs"
    );
}

#[test]
fn an_empty_volume_may_move_and_a_used_one_is_waited_for() {
    let lease = Duration::from_secs(3600);
    let mut world = World::new();
    world.up("first", &[], 4);
    let (build, jobs) = world.submit(vec![job("a").with(&[Shared]), job("b").with(&[Shared]).after("a")]);
    world.up("second", &[], 4);
    // Nobody knows what is in the volume of an attempt that was given up: the next begins with a fresh one.
    world.pass(lease);
    let attempt = world.attempt(jobs[0]);
    world.hello("second", 4, &[]);
    assert_eq!(world.cluster_of(jobs[0]), "second");
    assert_eq!(
        hello_with(&mut world, "first", vec![VolumeId::Shared(build)]),
        ["first: release shared"]
    );
    assert!(world.attempt(jobs[0]).epoch > attempt.epoch);
    world.report(jobs[0], running());
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.cluster_of(jobs[1]), "second");
    world.pass(lease);
    world.hello("first", 4, &[]);
    assert_eq!(world.cluster_of(jobs[1]), "", "what `a` has left there is needed");
    let orders = hello_with(&mut world, "second", vec![VolumeId::Shared(build)]);
    assert_eq!(orders, ["second: assign 2"]);
}

#[test]
fn jobs_whose_volume_was_removed_with_its_cluster_say_so() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![
        job("a").with(&[Shared]),
        job("b").with(&[Shared]).after("a"),
        job("c").with(&[Shared]).after("b"),
    ]);
    world.report(jobs[0], running());
    world.report(jobs[0], ended(Failure));
    let (_, more) = world.submit(vec![
        job("a").with(&[Shared]),
        job("b").with(&[Shared]).after_when("a", StateSet::ALL),
    ]);
    world.report(more[0], running());
    world.report(more[0], ended(Failure));
    world.up("west", &[], 4);
    let name = cluster("east");
    world.done(Command::RemoveCluster {
        name,
        caution: Caution::None,
    });
    assert_eq!(world.states(&more), ["failure", "error"]);
    assert_eq!(
        world.seen[&more[1]].message,
        "the shared volume of the build is lost: cluster `east`, where `a` used it, was removed"
    );
}

/// What was there went with the cluster that was removed, whatever joins under its name.
#[test]
fn a_cluster_with_the_name_of_one_that_was_removed_has_nothing_that_it_had() {
    for restarts in [false, true] {
        let mut world = World::new();
        world.up("east", &["AWS"], 4);
        world.up("west", &["GCP"], 4);
        let (_, jobs) = world.submit(vec![
            job("co").with(&[Shared]).on("AWS"),
            job("slow").on("GCP"),
            job("use").with(&[Shared]).after("co").after("slow"),
            job("beside").beside("co").after("co").after("slow"),
        ]);
        world.report(jobs[0], running());
        world.report(jobs[0], ended(Finished));
        let name = cluster("east");
        let removal = |caution| Command::RemoveCluster {
            name: name.clone(),
            caution,
        };
        let refusal = world.refused(removal(Caution::Needs)).to_string();
        assert!(
            refusal.contains("what 2 jobs work with that can run nowhere else"),
            "{refusal}"
        );
        world.done(removal(Caution::None));
        if restarts {
            world.restart();
            world.hello_again("west", 4);
        }
        world.up("east", &["AWS"], 4);
        world.report(jobs[1], ended(Finished));
        assert_eq!(
            world.states(&jobs),
            ["finished", "finished", "error", "error"],
            "restarted: {restarts}"
        );
        let message = |job: usize| &world.seen[&jobs[job]].message;
        assert_eq!(
            message(2),
            "the shared volume of the build is lost: cluster `east`, where `co` used it, was removed"
        );
        assert!(message(3).ends_with("`east`, was removed"), "{}", message(3));
    }
}

#[test]
fn a_workspace_stays_where_it_is_until_its_project_or_cluster_goes() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![job("a").with(&[Workspace])]);
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.live.projects[0].workspace, Some(cluster("east")));
    world.up("west", &[], 8);
    world.restart();
    world.hello("west", 8, &[]);
    let (_, jobs) = world.submit(vec![
        job("a").with(&[Workspace]),
        job("b").with(&[Shared, Workspace]),
        job("c").with(&[Shared]),
    ]);
    assert_eq!(
        world.control.waiting_reason(jobs[2]).unwrap(),
        "it waits for `east` to connect",
        "it shares a volume with a job that needs the workspace"
    );
    assert_eq!(
        hello_with(&mut world, "east", vec![VolumeId::Workspace(PROJECT)]).len(),
        3
    );
    let places: Vec<_> = jobs.iter().map(|job| world.cluster_of(*job)).collect();
    assert_eq!(places, ["east"; 3]);
    for job in jobs {
        world.report(job, ended(Finished));
    }
    let effects = world.done(Command::DeleteProject { id: PROJECT });
    assert_eq!(orders(&effects), ["east: release workspace"]);
}

#[test]
fn a_workspace_is_made_anew_when_its_cluster_was_removed() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a").with(&[Workspace]), job("b").with(&[Workspace])]);
    world.up("west", &[], 8);
    assert_eq!(world.states(&jobs), ["assigned", "queued"]);
    let name = cluster("east");
    world.done(Command::RemoveCluster {
        name,
        caution: Caution::None,
    });
    let places: Vec<_> = jobs.iter().map(|job| world.cluster_of(*job)).collect();
    assert_eq!(places, ["west"; 2]);
    assert_eq!(world.live.projects[0].workspace, Some(cluster("west")));
}

#[test]
fn who_comes_first_reserves_the_workspace_for_those_who_share_with_it() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let builds: Vec<_> = (0..2)
        .map(|_| {
            let jobs = vec![
                job("checkout").with(&[Shared]),
                job("compile").with(&[Shared, Workspace]).after("checkout"),
            ];
            world.submit(jobs).1
        })
        .collect();
    world.up("west", &[], 8);
    assert_eq!(world.live.projects[0].workspace, Some(cluster("east")));
    assert_eq!(
        world.cluster_of(builds[1][0]),
        "",
        "its compilation could not follow it elsewhere"
    );
    for jobs in builds {
        for job in jobs {
            assert_eq!(world.cluster_of(job), "east");
            world.report(job, running());
            world.report(job, ended(Finished));
        }
    }
}

#[test]
fn a_volume_that_nobody_has_used_holds_nobody() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let second = job("b").with(&[Shared]).preferring("west");
    let (_, jobs) = world.submit(vec![job("a").with(&[Shared]), second]);
    world.up("west", &[], 4);
    assert_eq!(world.states(&jobs), ["assigned", "queued"]);
    world.done(Command::CancelJob { job: jobs[0] });
    world.report(jobs[0], ended(Killed));
    // `a` never ran; so `b` may go where it prefers.
    assert_eq!(world.cluster_of(jobs[1]), "west");
    let (_, jobs) = world.submit(vec![
        job("a").with(&[Shared]),
        job("b").with(&[Shared]).after_when("a", StateSet::ALL),
    ]);
    let place = world.cluster_of(jobs[0]);
    world.done(Command::CancelJob { job: jobs[0] });
    let name = cluster(&place);
    world.done(Command::RemoveCluster {
        name,
        caution: Caution::None,
    });
    assert_eq!(world.states(&jobs), ["killed", "assigned"]);
}

/// A build may have thousands of jobs that share: none of them is looked at again for each that is placed.
#[test]
fn thousands_that_share() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let many = (0..5_000).map(|index| job(&format!("j{index}")).with(&[Shared]));
    let submission = world.submission(PROJECT, many.collect());
    let jobs = submission.jobs.clone();
    let control = &mut world.control;
    assert!(
        control
            .apply(world.now, Command::Submit(Box::new(submission)))
            .reply
            .is_ok()
    );
    let session = control.cluster(&cluster("east")).unwrap().session.unwrap();
    for job in jobs {
        let epoch = crate::id::Epoch(1);
        let report = Command::Report {
            generated: None,
            cluster: cluster("east"),
            session,
            attempt: crate::id::AttemptId { job, epoch },
            phase: ended(Finished),
        };
        assert!(control.apply(world.now, report).reply.is_ok());
    }
    assert_eq!(control.builds().count(), 0);
}

#[test]
fn volumes_that_nobody_knows_are_released() {
    let mut world = World::new();
    world.up("east", &[], 2);
    world.up("west", &[], 2);
    let stranger = VolumeId::Shared(BuildId::from_u128(4711));
    let other = ProjectId::from_u128(2);
    let name = ProjectName::new("other").unwrap();
    world.done(Command::CreateProject { id: other, name });
    assert_eq!(
        hello_with(
            &mut world,
            "east",
            vec![stranger, VolumeId::Workspace(ProjectId::from_u128(3))]
        ),
        ["east: release shared", "east: release workspace"]
    );
    // One that is known to have it, and another that says later that it has one too.
    let (build, jobs) = world.submit(vec![job("a").with(&[Shared]), job("plain").after("a")]);
    let place = world.cluster_of(jobs[0]);
    for (name, released) in [("east", place != "east"), ("west", place != "west")] {
        let session = world.session(name);
        let volume = VolumeId::Shared(build);
        let effects = world.done(Command::Holds {
            cluster: cluster(name),
            session,
            volume,
        });
        assert_eq!(orders(&effects).len(), usize::from(released));
    }
    let (plain, _) = world.submit(vec![job("a")]);
    let orders = hello_with(&mut world, "west", vec![VolumeId::Shared(plain)]);
    let released = orders.contains(&"west: release shared".to_owned());
    assert!(released, "no job of that build uses one: {orders:?}");
}
