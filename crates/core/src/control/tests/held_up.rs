//! Clusters whose jobs do not start come after others.

use proptest::prelude::*;

use super::super::testing::{PROJECT, World, cluster, ended, hello, job, running};
use super::super::{Command, Place, Settings};
use crate::attempt::Phase;
use crate::build::BuildDefinition;
use crate::build::TerminalState::Finished;
use crate::id::{AttemptId, JobId, SessionId};
use crate::route::{Cost, Costs};

impl World {
    /// The agent of a job's cluster says why it does not start.
    fn waits(&mut self, job: JobId, reason: &str) {
        let name = self.cluster_of(job);
        let command = Command::Waits {
            cluster: cluster(&name),
            session: self.session(&name),
            attempt: self.attempt(job),
            reason: reason.to_owned(),
        };
        self.done(command);
    }

    /// Jobs that a cluster has, none of which runs yet.
    fn fill(&mut self, name: &str, count: usize) -> Vec<JobId> {
        if count == 0 {
            return Vec::new();
        }
        let spec = |index| job(&format!("{name}-{index}")).on(&format!("cluster={name}"));
        self.submit((0..count).map(spec).collect()).1
    }

    /// Where a job would go, and why, and where it goes then.
    fn goes(&mut self) -> (String, String, JobId) {
        let jobs = vec![job("next")];
        let planned = self
            .control
            .plan(PROJECT, BuildDefinition { jobs: jobs.clone() })
            .unwrap();
        let Place::Cluster { cluster, reason } = planned[0].place.clone() else {
            panic!("{planned:?}");
        };
        let (_, jobs) = self.submit(jobs);
        assert_eq!(
            cluster.as_str(),
            self.cluster_of(jobs[0]),
            "`plan` agrees with placement"
        );
        (cluster.to_string(), reason, jobs[0])
    }
}

/// East is large and empty, but for one job; west is smaller and fuller.
fn two() -> (World, JobId) {
    let mut world = World::new();
    world.up("east", &[], 20);
    world.up("west", &[], 10);
    let jobs = world.fill("east", 1);
    world.fill("west", 4);
    (world, jobs[0])
}

#[test]
fn a_cluster_whose_jobs_do_not_start_comes_after_others() {
    let (mut world, first) = two();
    let (place, reason, _) = world.goes();
    assert_eq!(
        (place.as_str(), reason.as_str()),
        ("east", "of 2 that suit it, the most of it is free")
    );
    world.waits(first, "waits for a node: 0/3 nodes are available");
    let (place, reason, next) = world.goes();
    assert_eq!(
        (place.as_str(), reason.as_str()),
        ("west", "of 2 that suit it, the fewest jobs wait there to start")
    );
    let explained = world.control.explain(next).unwrap();
    let drawbacks: Vec<_> = explained.clusters.iter().map(|verdict| verdict.drawback()).collect();
    assert_eq!(
        drawbacks,
        [Some("a job that it was given does not start there".to_owned()), None]
    );
    assert!(
        explained.clusters.iter().all(|verdict| verdict.misses.is_empty()),
        "it fits all the same"
    );
}

#[test]
fn a_job_that_goes_on_ends_or_is_taken_away_holds_nothing_up() {
    type Act = fn(&mut World, JobId);
    let acts: [(&str, Act); 5] = [
        ("goes on", |world, job| world.waits(job, "")),
        ("runs", |world, job| drop(world.report(job, running()))),
        ("ended", |world, job| drop(world.report(job, ended(Finished)))),
        ("its agent says nothing of it any more", |world, job| {
            let attempt = world.attempt(job);
            drop(world.hello("east", 20, &[(attempt, Phase::Preparing)]));
        }),
        ("the agent does not have it any more", |world, job| {
            let attempt = world.attempt(job);
            let elsewhere = AttemptId {
                job: JobId::from_u128(7),
                ..attempt
            };
            let session = SessionId(u64::try_from(world.fresh()).unwrap());
            world.done(Command::Connect {
                cluster: cluster("east"),
                session,
                hello: Box::new(hello(20, &[(elsewhere, Phase::Preparing)])),
            });
        }),
    ];
    for (case, act) in acts {
        let (mut world, first) = two();
        world.waits(first, "waits for a node");
        assert_eq!(world.goes().0, "west", "{case}");
        act(&mut world, first);
        assert_eq!(world.goes().0, "east", "{case}");
    }
}

#[test]
fn a_job_that_waits_while_it_runs_says_nothing_of_those_to_come() {
    let (mut world, first) = two();
    world.report(first, running());
    world.waits(first, "its node is not heard of");
    assert_eq!(world.goes().0, "east");
}

#[test]
fn after_a_restart_it_counts_when_the_agent_has_said_it_again() {
    let (mut world, first) = two();
    world.waits(first, "waits for a node");
    world.restart();
    world.hello_again("east", 20);
    world.hello_again("west", 10);
    assert_eq!(world.goes().0, "east");
    world.waits(first, "waits for a node");
    assert_eq!(world.goes().0, "west");
}

#[test]
fn what_a_job_prefers_and_where_its_inputs_are_comes_first() {
    let costs = Costs {
        waiting_per_hour: Cost(3600),
        ..Costs::default()
    };
    let mut world = World::with(Settings {
        costs,
        ..Settings::default()
    });
    world.up("east", &["AWS"], 20);
    world.up("west", &["GCP"], 20);
    let held = world.fill("east", 1);
    world.waits(held[0], "waits for a node");
    let (_, jobs) = world.submit(vec![job("a").preferring("east"), job("b")]);
    assert_eq!(world.cluster_of(jobs[0]), "east");
    assert_eq!(world.cluster_of(jobs[1]), "west");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever does not start anywhere: a job goes where the fewest do not, and `plan` says so before.
    #[test]
    fn plan_and_placement_agree_on_what_does_not_start(held in prop::collection::vec((0..5_usize, 0..5_usize, 6..20_u32), 1..6)) {
        let mut world = World::new();
        let name = |index: usize| format!("c{index}");
        for (index, (waits, others, slots)) in held.iter().enumerate() {
            world.up(&name(index), &[], *slots + 10);
            let jobs = world.fill(&name(index), waits + others);
            for job in jobs.iter().take(*waits) {
                world.waits(*job, "waits for a node");
            }
        }
        let (place, ..) = world.goes();
        let fewest = held.iter().map(|(waits, ..)| *waits).min();
        let chosen = held.iter().enumerate().find(|(index, _)| name(*index) == place).map(|(_, (waits, ..))| *waits);
        prop_assert_eq!(chosen, fewest);
    }
}
