//! Which cluster is told to bring what, and how often.

use std::collections::VecDeque;

use super::*;
use crate::id::ProjectId;
use crate::name::ProjectName;

/// Where the output of `a` goes, which is on east.
fn destination(clusters: &[(&str, &[&str], u32)], child: &str, before: &dyn Fn(&mut World)) -> Vec<String> {
    let mut world = World::new();
    world.up("east", &["AWS"], 2);
    let (_, jobs) = world.submit(vec![
        job("a").on("AWS"),
        job("b").on("AWS"),
        job("c").after("a").after("b").on(child),
    ]);
    for (name, labels, slots) in clusters {
        world.up(name, labels, *slots);
    }
    world.report(jobs[0], leaves(1));
    before(&mut world);
    let mut told = world.drain("east");
    told.retain(|order| order.ends_with("copy"));
    told
}

#[test]
fn a_copy_goes_where_the_job_that_waits_can_run_and_else_where_there_is_room() {
    let nothing = |_: &mut World| {};
    let north: (&str, &[&str], u32) = ("north", &["GCP"], 1);
    let (south, west): (_, (&str, &[&str], u32)) = (("south", &[] as &[&str], 9), ("west", &["GCP"], 4));
    let none: [&str; 0] = [];
    assert_eq!(destination(&[south, north], "GCP", &nothing), ["north: copy"]);
    assert_eq!(
        destination(&[south], "GCP", &nothing),
        ["south: copy"],
        "it is safe there"
    );
    assert_eq!(destination(&[], "GCP", &nothing), none);
    let fill = |world: &mut World| {
        world.submit(vec![job("other").on("cluster=west"), job("another").on("cluster=west")]);
    };
    assert_eq!(
        destination(&[north, west], "GCP", &fill),
        ["north: copy"],
        "more of it is free"
    );
    for availability in [Cordoned, Draining, Availability::Disabled] {
        let close = |world: &mut World| drop(world.set("north", availability));
        assert_eq!(
            destination(&[south, north], "GCP", &close),
            ["south: copy"],
            "{availability}"
        );
    }
    let away = |world: &mut World| {
        let session = world.session("north");
        let cluster = cluster("north");
        world.done(Command::Disconnect { cluster, session });
    };
    assert_eq!(destination(&[south, north], "GCP", &away), ["south: copy"]);
}

#[test]
fn another_cluster_is_told_when_one_cannot_get_it_and_all_again_after_a_while() {
    let (mut world, jobs) = waiting();
    world.up("north", &["GCP"], 1);
    world.report(jobs[2], ended(Finished));
    let child = world.cluster_of(jobs[1]);
    let other = if child == "west" { "north" } else { "west" };
    assert_eq!(
        world.drain("east"),
        [format!("{child}: copy")],
        "the job that needs it is there"
    );
    let failed = || CopyStage::Failed("no way\nleads there".to_owned());
    assert_eq!(world.copied(&child, jobs[0], 1, failed()), [format!("{other}: copy")]);
    assert_eq!(world.copied(other, jobs[0], 1, failed()), [""; 0]);
    let expected =
        format!("the output of `a` of build 1 cannot be moved: cluster `{other}` could not get it: no way leads there");
    assert_eq!(obstacle(&world, "east"), expected);
    assert_eq!(
        left(&world, "east"),
        "0 attempts, 0 bound, 1 outputs of 100 bytes, 0 on their way"
    );
    assert_eq!(world.seconds(29), [""; 0]);
    assert_eq!(obstacle(&world, "east"), expected);
    assert_eq!(world.seconds(2), [format!("{child}: copy")]);
    assert_eq!(obstacle(&world, "east"), "");
    world.copied(&child, jobs[0], 1, CopyStage::Whole);
    assert_eq!(left(&world, "east"), NOTHING);
}

#[test]
fn an_order_is_repeated_until_something_is_heard_and_another_cluster_told_if_nothing_is() {
    let (mut world, jobs) = waiting();
    assert_eq!(world.drain("east"), ["west: copy"]);
    assert_eq!(world.seconds(25), ["west: copy", "west: copy"]);
    world.up("north", &[], 1);
    for _ in 0..4 {
        world.copied("west", jobs[0], 1, CopyStage::UnderWay);
        assert!(world.seconds(60).iter().all(|order| order == "west: copy"));
    }
    let told = world.seconds(61);
    assert_eq!(told.last().map(String::as_str), Some("north: copy"), "{told:?}");
    // What the first one says now is late.
    world.copied("west", jobs[0], 1, CopyStage::Whole);
    assert_eq!(world.copies(jobs[0]), [""; 0]);
    // Not what was asked for.
    world.copied("north", jobs[0], 2, CopyStage::Whole);
    assert_eq!(world.copies(jobs[0]), [""; 0]);
    assert_eq!(world.seconds(1), ["west: copy"], "it is begun with anew");
    world.copied("west", jobs[0], 1, CopyStage::Whole);
    assert_eq!(world.copies(jobs[0]), ["west"]);
}

#[test]
fn few_outputs_are_moved_at_once_and_the_next_when_one_is_there() {
    let mut world = World::new();
    world.up("east", &["AWS"], 40);
    let (_, jobs) = world.submit(vec![
        job("many").on("AWS").times(40),
        job("blocks").on("AWS"),
        job("child").after("many").after("blocks").on("GCP"),
    ]);
    world.up("west", &["GCP"], 1);
    let indexes: Vec<JobId> = (0..40).map(|index| jobs[0].of_index(index)).collect();
    for (index, job) in indexes.iter().enumerate().take(39) {
        world.report(*job, leaves(u8::try_from(index).unwrap()));
    }
    let told = world.drain("east");
    assert_eq!(told, ["west: copy"; 16]);
    let mut moved = 0;
    while !drain(&world, "east").is_over && moved < 39 {
        let index = usize::from(moved);
        let next = world.copied("west", indexes[index], moved, CopyStage::Whole);
        moved += 1;
        assert_eq!(next.len(), usize::from(moved <= 39 - 16), "{moved}");
    }
    assert_eq!(
        left(&world, "east"),
        "2 attempts, 0 bound, 0 outputs of 0 bytes, 0 on their way"
    );
}

#[test]
fn two_clusters_that_go_together_do_not_rely_on_each_other() {
    let (mut world, jobs) = waiting();
    world.drain("east");
    world.copied("west", jobs[0], 1, CopyStage::Whole);
    world.up("north", &["AWS"], 1);
    world.set("west", Draining);
    let told = world.seconds(2);
    assert!(told.contains(&"north: copy".to_owned()), "{told:?}");
    assert!(!drain(&world, "east").is_over && !drain(&world, "west").is_over);
    world.copied("north", jobs[0], 1, CopyStage::Whole);
    world.seconds(2);
    assert_eq!(left(&world, "east"), NOTHING);
    assert_eq!(drain(&world, "west").outputs, 0);
    assert_eq!(world.copies(jobs[0]), ["west", "north"]);
}

#[test]
fn a_cluster_that_is_away_says_so_and_gives_its_outputs_when_it_is_back() {
    let (mut world, _) = waiting();
    let session = world.session("east");
    let east = cluster("east");
    world.done(Command::Disconnect { cluster: east, session });
    assert_eq!(world.drain("east"), [""; 0]);
    assert_eq!(
        obstacle(&world, "east"),
        "it is not connected, and so cannot give its outputs away"
    );
    world.hello("east", 2, &[]);
    assert_eq!(world.seconds(2), ["west: copy"]);
}

#[test]
fn clusters_that_take_no_jobs_for_now_are_named_as_what_is_in_the_way() {
    for (availability, expected) in [
        (Cordoned, "`west` is cordoned"),
        (Draining, "`west` is being drained"),
        (Availability::Disabled, "`west` is disabled"),
    ] {
        let (mut world, jobs) = waiting();
        world.set("west", availability);
        assert_eq!(world.drain("east"), [""; 0]);
        let words = "the output of `a` of build 1 cannot be moved: no other cluster is connected, takes jobs and may have what its project makes";
        assert_eq!(obstacle(&world, "east"), format!("{words}: {expected}"));
        assert_eq!(world.state(jobs[0]).to_string(), "finished");
    }
    let (mut world, _) = waiting();
    let session = world.session("west");
    let west = cluster("west");
    world.done(Command::Disconnect { cluster: west, session });
    world.drain("east");
    assert!(
        obstacle(&world, "east").ends_with(": `west` is not connected"),
        "{}",
        obstacle(&world, "east")
    );
}

/// So many outputs on east that may be nowhere else, and after them one that may be on west too, which is the job's.
fn behind_stuck(stuck: u32) -> (World, JobId) {
    let mut world = World::new();
    world.up("east", &["region=eu"], stuck + 1);
    let share = Share {
        clusters: Selector::parse("region=eu").unwrap(),
        ..Share::default()
    };
    world.done(Command::SetShare { id: PROJECT, share });
    let other = ProjectId::from_u128(2);
    let name = ProjectName::new("other").unwrap();
    world.done(Command::CreateProject { id: other, name });
    let (_, many) = world.submit(vec![job("many").times(stuck), job("child").after("many").on("GCP")]);
    let submission = world.submission(other, vec![job("a"), job("b").after("a").on("GCP")]);
    let last = submission.jobs[0];
    world.done(Command::Submit(Box::new(submission)));
    let mut all: VecDeque<JobId> = (0..stuck).map(|index| many[0].of_index(index)).collect();
    all.push_back(last);
    while let Some(job) = all.pop_front() {
        match world.cluster_of(job).as_str() {
            "east" => drop(world.report(job, leaves(1))),
            _ => {
                world.done(Command::Tick);
                all.push_front(job);
            }
        }
    }
    world.up("west", &[], 1);
    (world, last)
}

#[test]
fn outputs_that_can_go_nowhere_do_not_keep_others_however_many_they_are() {
    // More than are looked at in one command, and more than wait for their turn.
    for (stuck, seconds) in [(70, 1), (1100, 20)] {
        let (mut world, last) = behind_stuck(stuck);
        assert_eq!(world.drain("east"), [""; 0], "{stuck}: others come first");
        assert_eq!(world.seconds(seconds), ["west: copy"], "{stuck}");
        world.copied("west", last, 1, CopyStage::Whole);
        assert_eq!(world.copies(last), ["west"]);
        assert_eq!(drain(&world, "east").outputs, u64::from(stuck), "{stuck}");
    }
}
