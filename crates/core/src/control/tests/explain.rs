//! What is said of a job that a cluster has: why it is there, and what the clusters would be to it if it was placed once more.

use super::super::testing::{World, cluster, job, running};
use super::super::{Command, Present};
use crate::id::JobId;
use crate::placement::{Availability, Explanation};

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
        "it was given to cluster `east` (no other that suits it had room)"
    );
    assert_eq!(
        verdicts(&explained),
        ["east: ", "west: selector `AWS` does not hold; it is full now"]
    );
    assert_eq!(explained.advice, None);
    let waits = verdicts(&world.explained(jobs[2]));
    assert_eq!(waits, ["east: it is full now", "west: it is full now"]);
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
    world.report(
        jobs[0],
        super::super::testing::ended(crate::build::TerminalState::Finished),
    );
    assert_eq!(
        world.explained(jobs[2]).summary,
        "it was given to cluster `east` (the job that `same_as` names ran there)"
    );
    world.restart();
    world.hello_again("west", 4);
    assert_eq!(world.explained(jobs[1]).summary, "it was given to cluster `west`");
}
