//! What is stored is not trusted to make sense.

use super::super::restore::Error;
use super::super::testing::{World, cluster, digest, ended, job, running};
use super::super::{Control, GraphError, LiveState};
use crate::build::TerminalState::Finished;
use crate::build::{JobState, StateSet};
use crate::id::Epoch;
use crate::restoration::Restoration;
use crate::time::Timestamp;

#[test]
fn contradictions_are_found() {
    let mut world = World::new();
    world.up("east", &[], 1);
    let (build, jobs) = world.submit(vec![job("a"), job("b").after("a")]);
    world.report(jobs[0], running());
    type Damage = fn(&mut LiveState);
    let cases: [(Damage, Error); 9] = [
        (|live| live.projects.clear(), Error::UnknownProject(build)),
        (|live| live.builds.clear(), Error::UnknownBuild(jobs[0])),
        (|live| live.clusters.clear(), Error::UnknownCluster(jobs[0])),
        (|live| live.jobs[0].1.cluster = None, Error::UnknownCluster(jobs[0])),
        (|live| drop(live.jobs.remove(0)), Error::IncompleteBuild(build)),
        (
            |live| live.jobs.push(live.jobs[0].clone()),
            Error::IncompleteBuild(build),
        ),
        (|live| live.jobs.clear(), Error::NothingToDo(build)),
        (
            |live| {
                live.jobs
                    .iter_mut()
                    .for_each(|job| job.1.state = JobState::Terminal(Finished))
            },
            Error::NothingToDo(build),
        ),
        (
            |live| live.jobs[0].0.parents.push((1, StateSet::ALL)),
            Error::Graph {
                build,
                error: GraphError::Cycle("a".to_owned()),
            },
        ),
    ];
    for (damage, error) in cases {
        let mut live = world.live.clone();
        damage(&mut live);
        let restored = Control::restore(world.control.settings().clone(), live, world.now);
        assert_eq!(restored.err(), Some(error));
    }
}

#[test]
fn the_order_of_what_is_stored_does_not_matter() {
    let mut world = World::new();
    world.up("east", &[], 1);
    world.submit(vec![job("a"), job("b").after("a"), job("c")]);
    world.submit(vec![job("a")]);
    world.live.jobs.reverse();
    world.live.builds.reverse();
    world.restart();
    assert_eq!(
        world.control.cluster(&cluster("east")).map(|east| east.attempts),
        Some(1)
    );
    assert_eq!(
        world.control.cluster(&cluster("east")).map(|east| east.record.key),
        Some(digest(1))
    );
}

/// What was given out and had not begun may have run to its end since: its number is not given out again.
#[test]
fn an_attempt_that_a_cluster_does_not_have_after_a_restoration_gets_another_epoch() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![job("a")]);
    assert_eq!(world.attempt(jobs[0]).epoch, Epoch(1));
    world.live.restoration = Some(Restoration {
        at: Timestamp(1_793_371_234_567),
    });
    world.restart();
    world.hello("east", 4, &[]);
    assert_eq!(world.attempt(jobs[0]).epoch, Epoch(1_793_371_234));
}

/// What the backup knows goes on under its number; what begins now has one that nobody can have been given since.
#[test]
fn attempts_after_a_restoration_have_higher_epochs_than_any_before() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![job("a"), job("b").after("a")]);
    world.report(jobs[0], running());
    let lost_since = world.attempt(jobs[1]);
    world.live.restoration = Some(Restoration {
        at: Timestamp(1_793_371_234_567),
    });
    world.restart();
    world.hello("east", 4, &[(world.attempt(jobs[0]), running())]);
    assert_eq!(world.attempt(jobs[0]).epoch, Epoch(1));
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.attempt(jobs[1]).epoch, Epoch(1_793_371_234));
    // What the lost master had given comes back: it does not count.
    let stale = crate::id::AttemptId {
        epoch: lost_since.epoch.next(),
        ..lost_since
    };
    world.refused(world.report_command("east", stale, ended(Finished)));
    world.report(jobs[1], running());
    world.hello("east", 4, &[]);
    assert_eq!(world.attempt(jobs[1]).epoch, Epoch(1_793_371_235), "the next one");
}
