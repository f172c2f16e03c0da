//! What is stored is not trusted to make sense.

use super::super::restore::Error;
use super::super::testing::{World, cluster, digest, job, running};
use super::super::{Control, GraphError, LiveState};
use crate::build::TerminalState::Finished;
use crate::build::{JobState, StateSet};

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
