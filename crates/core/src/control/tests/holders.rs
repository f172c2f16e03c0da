//! Who has outputs of builds that are over.

use std::time::Duration;

use super::super::record::Build;
use super::super::testing::{World, cluster, job, leaves, running};
use super::super::{Caution, Command};
use crate::id::JobId;

#[test]
fn a_cluster_that_has_the_name_of_another_one_does_not_have_its_outputs() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 2);
    let (build, jobs) = world.submit(vec![job("a").on("AWS")]);
    let mut build = world.control.build(build).unwrap().clone();
    world.report(jobs[0], leaves(1));
    build.ended_at = Some(world.now.wall);
    let made = world.seen[&jobs[0]].clone();
    let mut copied = made.clone();
    copied.note_copy(&cluster("west"));
    // As another build took it over that was submitted when the first one was over, and is not over itself.
    let mut taken_over = made.clone();
    taken_over.message = "taken over from build 1".to_owned();
    let later = Build {
        created_at: world.now.wall,
        ended_at: None,
        ..build.clone()
    };
    let cases = [(&build, &made), (&build, &copied), (&later, &taken_over)];
    let asked = |world: &World| cases.map(|(build, status)| world.control.output_gone(build, status).is_some());
    assert_eq!(asked(&world), [false; 3]);
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::Needs,
    });
    assert_eq!(asked(&world), [true, false, true]);
    world.advance(Duration::from_secs(1));
    world.up("east", &["AWS"], 2);
    assert_eq!(asked(&world), [true, false, true], "this one is another");
    assert_eq!(world.control.output_at(&build, &copied), Some(cluster("west")));
    // One that was there before the build was over may have made it.
    build.ended_at = Some(world.now.wall);
    assert_eq!(world.control.output_gone(&build, &made), None);
    // Unless that is known better.
    let mut noted = made.clone();
    build.ended_at = later.ended_at.or(Some(later.created_at));
    world.control.note_removed(&build, &mut noted);
    build.ended_at = Some(world.now.wall);
    assert!(noted.gone_with_its_cluster().is_some());
    assert!(world.control.output_gone(&build, &noted).is_some());
    world.control.note_removed(&build, &mut copied);
    assert_eq!(copied.gone_with_its_cluster(), None);
}

#[test]
fn what_a_running_build_has_left_on_a_removed_cluster_is_not_on_the_next_one_of_that_name() {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    world.up("west", &["GCP"], 2);
    let (build, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("GCP"),
        job("c").on("GCP").after("a"),
    ]);
    let build = world.control.build(build).unwrap().clone();
    world.report(jobs[1], running());
    world.report(jobs[0], leaves(1));
    world.report(jobs[2], running());
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    world.up("east", &["AWS"], 2);
    let status = world.seen[&jobs[0]].clone();
    let reason = "cluster `east`, which had it, was removed";
    assert_eq!(world.control.output_gone(&build, &status).as_deref(), Some(reason));
    // Also for a master that knows it from the database alone.
    assert_eq!(status.gone_with_its_cluster().as_deref(), Some(reason));
    let over = Build {
        ended_at: Some(world.now.wall),
        ..build
    };
    let mut asked = status;
    asked.id = JobId::from_u128(77);
    assert_eq!(world.control.output_gone(&over, &asked).as_deref(), Some(reason));
}
