//! What is said of a job that a cluster has: why it is there, and what the clusters would be to it if it was placed once more.

use super::super::record::Course;
use super::super::testing::{World, cluster, ended, job, running};
use super::super::{Command, Present};
use crate::build::TerminalState::{Failure, Finished, Killed};
use crate::id::JobId;
use crate::placement::{Availability, Explanation, Wishes};

impl World {
    fn explained(&self, job: JobId) -> Explanation {
        self.control.explain(job).unwrap()
    }
}

/// `cluster: what is missing`.
fn verdicts(explanation: &Explanation) -> Vec<String> {
    let verdict = |verdict: &crate::placement::ClusterVerdict| {
        let misses: Vec<String> = verdict.misses.iter().map(ToString::to_string).collect();
        format!("{}: {}", verdict.cluster, misses.join("; "))
    };
    explanation.clusters.iter().map(verdict).collect()
}

#[test]
fn a_job_does_not_take_the_room_from_itself() {
    let mut world = World::new();
    world.up("east", &["AWS"], 1);
    world.up("west", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![job("a").on("AWS"), job("b").on("GCP"), job("any")]);
    world.report(jobs[0], running());
    let explained = world.explained(jobs[0]);
    assert_eq!(
        explained.summary,
        "it was given to cluster `east` (no other suited it and had room)"
    );
    let full =
        "it has 0 of 1 slots free now, the job needs 1 (1 more); it has 0 of 1 cpu free now, the job needs 1 (1 more)";
    assert_eq!(
        verdicts(&explained),
        [
            "east: ".to_owned(),
            format!("west: selector `AWS` does not hold; {full}")
        ]
    );
    assert_eq!(explained.advice, None);
    let waits = verdicts(&world.explained(jobs[2]));
    assert_eq!(waits, [format!("east: {full}"), format!("west: {full}")]);
}

#[test]
fn a_job_that_goes_on_where_new_ones_do_not_go_fits_there() {
    for availability in [Availability::Cordoned, Availability::Draining] {
        let mut world = World::new();
        world.up("east", &["AWS"], 2);
        world.up("west", &["AWS"], 1);
        let (_, jobs) = world.submit(vec![job("a").on("AWS")]);
        assert_eq!(world.cluster_of(jobs[0]), "east");
        for name in ["east", "west"] {
            world.done(Command::SetAvailability {
                name: cluster(name),
                availability,
                present: Present::Stay,
            });
        }
        let explained = world.explained(jobs[0]);
        let [east, west] = explained.clusters.as_slice() else {
            panic!("{explained:?}");
        };
        assert_eq!((east.misses.len(), east.remedy()), (0, None), "it is there already");
        assert_eq!(west.remedy().as_deref(), Some("`tombolo cluster uncordon west`"));
    }
}

#[test]
fn why_a_job_was_placed_is_known_until_the_master_begins_anew() {
    let mut world = World::new();
    world.up("east", &[], 2);
    world.up("west", &[], 4);
    let (_, jobs) = world.submit(vec![
        job("free"),
        job("preferring").preferring("west"),
        job("child").after("free").beside("free"),
    ]);
    for (job, expected) in [
        (
            jobs[0],
            "it was given to cluster `east` (of 2 that were compared, the most of it was free)",
        ),
        (jobs[1], "it was given to cluster `west` (it prefers it)"),
    ] {
        assert_eq!(world.explained(job).summary, expected);
    }
    world.report(jobs[0], ended(Finished));
    assert_eq!(
        world.explained(jobs[2]).summary,
        "it was given to cluster `east` (the job that `same_as` names ran there)"
    );
    world.restart();
    world.hello_again("west", 4);
    assert_eq!(world.explained(jobs[1]).summary, "it was given to cluster `west`");
}

#[test]
fn why_a_job_was_placed_is_kept_when_it_ends_and_not_before() {
    let mut world = World::new();
    world.up("east", &[], 2);
    world.up("west", &[], 4);
    let (_, jobs) = world.submit(vec![
        job("free"),
        job("preferring").preferring("west").retried(1),
        job("cancelled").preferring("west"),
        job("child").after("free"),
        job("unplaced").on("gpu"),
        job("array").times(1),
    ]);
    let kept = |world: &World, job: usize| {
        let status = world.seen.get(&jobs[job])?;
        status.choice().map(|choice| choice.account(&Wishes::default()))
    };
    world.report(jobs[1], ended(Failure));
    assert!((0..5).all(|job| kept(&world, job).is_none()), "none of them is over");
    let bytes = serde_json::to_string(&world.seen[&jobs[0]].course).unwrap().len();
    world.report(jobs[0], ended(Finished));
    let most_free = "of 2 that were compared, the most of it was free";
    assert_eq!(kept(&world, 0).as_deref(), Some(most_free));
    let more = serde_json::to_string(&world.seen[&jobs[0]].course).unwrap().len() - bytes;
    assert!(more < 64, "{more} bytes are written");
    assert!(
        size_of::<Course>() < 200,
        "what is kept in memory until its build is over"
    );
    let index = jobs[5].of_index(0);
    world.report(index, ended(Finished));
    assert_eq!(world.seen[&index].course, None, "there may be 100,000 of them");
    world.pass(std::time::Duration::from_secs(10));
    world.report(jobs[1], ended(Finished));
    assert_eq!(kept(&world, 1).as_deref(), Some("it prefers it"));
    world.done(Command::CancelJob { job: jobs[2] });
    world.done(Command::CancelJob { job: jobs[4] });
    world.report(jobs[2], ended(Killed));
    assert_eq!(kept(&world, 2).as_deref(), Some("it prefers it"));
    assert_eq!(kept(&world, 4), None, "no cluster had it");
    // What was chosen by a master that is gone is not known.
    world.restart();
    assert_eq!(kept(&world, 0).as_deref(), Some(most_free));
    world.hello_again("west", 4);
    world.hello_again("east", 2);
    world.report(jobs[3], ended(Finished));
    assert_eq!(kept(&world, 3), None);
}

#[test]
fn requirements_that_exclude_each_other_are_named_in_place_of_a_nearest_cluster() {
    let mut world = World::new();
    world.up("east", &["GCP"], 1);
    let (_, jobs) = world.submit(vec![job("a").on("GCP, !GCP"), job("b").on("a=1, a=2")]);
    for (job, pair) in [(jobs[0], "`GCP`, `!GCP`"), (jobs[1], "`a=1`, `a=2`")] {
        let explained = world.explained(job);
        let summary = format!("no cluster can ever meet its selector: {pair} exclude each other");
        assert_eq!(explained.summary, summary);
        let advice = format!("take one of {pair} out of its selector");
        assert_eq!(explained.advice, Some(advice));
    }
}

#[test]
fn a_job_between_two_attempts_says_when_the_next_one_is_due() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (_, jobs) = world.submit(vec![job("a").retried(1)]);
    assert_eq!(world.explained(jobs[0]).retry_at, None);
    world.report(jobs[0], running());
    world.report(jobs[0], ended(Failure));
    let explained = world.explained(jobs[0]);
    assert_eq!(explained.retry_at, world.seen[&jobs[0]].retry_at());
    assert!(explained.retry_at.is_some(), "{explained:?}");
}
