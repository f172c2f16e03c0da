//! Builds that run (some of) another one again.

mod asked;

use super::super::command::{Known, Rerun};
use super::super::record::{JobNode, JobStatus};
use super::super::testing::{PROJECT, World, cluster, ended, job, leaves, running};
use super::super::{Caution, Change, Command, Refusal, Submission};
use crate::build::extensions::{Extensions, InputRule};
use crate::build::{JobKind, JobSpec, StateSet, TerminalState};
use crate::id::JobId;
use crate::label::Selector;
use crate::name::JobName;
use crate::rerun::{Error, Indexes, Plan, Scope, plan};
use crate::share::Share;
use crate::volume::VolumeKind;
use TerminalState::{Failure, Finished};

/// The jobs of a build of these jobs, which ended like that.
fn build_of(specs: &[JobSpec], ends: &[TerminalState]) -> Vec<(JobNode, JobStatus)> {
    let index_of = |name: &JobName| specs.iter().position(|spec| spec.name == *name).unwrap();
    let node = |index: usize, spec: &JobSpec| {
        let parents = spec.dependencies.iter();
        let parents = parents.map(|parent| (u32::try_from(index_of(&parent.job)).unwrap(), parent.on));
        let id = JobId::from_u128(index as u128 + 1);
        let index = u32::try_from(index).unwrap();
        JobNode::new(id, crate::id::BuildId::from_u128(1), index, spec, parents.collect())
    };
    let status = |node: &JobNode, end: TerminalState| {
        let mut status = JobStatus::waiting(node.id);
        status.state = crate::build::JobState::Terminal(end);
        status.started_at = Some(crate::time::Timestamp(1));
        status
    };
    let jobs = specs.iter().enumerate().zip(ends);
    jobs.map(|((index, spec), end)| {
        let node = node(index, spec);
        let status = status(&node, *end);
        (node, status)
    })
    .collect()
}

/// The jobs that run again, then those that are taken over.
fn parted(plan: &Plan) -> (String, String) {
    let names = |runs: bool| {
        let jobs = plan.definition.jobs.iter().zip(&plan.jobs);
        let those = jobs.filter(|(_, known)| known.ended.is_none() == runs);
        those.map(|(spec, _)| spec.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    (names(true), names(false))
}

/// `c` needs what `b` left, which needs what `a` left; `d` and `e` follow `a`, `e` without its output.
#[test]
fn what_left_an_output_that_is_needed_and_gone_runs_again_too() {
    let without = |spec: JobSpec, parent: &str| {
        let rule = InputRule {
            job: JobName::new(parent).unwrap(),
            wanted: false,
            paths: Vec::new(),
            folder: None,
            is_source: false,
            same_index: false,
        };
        let inputs = vec![rule];
        JobSpec {
            extensions: Extensions {
                inputs,
                ..Extensions::default()
            }
            .boxed(),
            ..spec
        }
    };
    let specs = [
        job("a"),
        job("b").after("a"),
        job("c").after("b"),
        job("d").after("a"),
        without(job("e").after("a"), "a"),
    ];
    let jobs = build_of(&specs, &[Finished; 5]);
    for (scope, gone, runs, lost) in [
        (of_job("c", true), "", "c", ""),
        (of_job("c", true), "a", "c", "a"),
        (of_job("c", true), "b", "b c", ""),
        (of_job("c", true), "a b", "a b c", ""),
        (of_job("c", true), "a b c d", "a b c", "d"),
        (of_job("e", true), "a", "e", "a"),
        (of_job("d", true), "a d", "a d", ""),
        (Scope::All, "a b", "a b c d e", ""),
    ] {
        let is_gone = |node: &JobNode, _: &JobStatus| {
            let gone = gone.split(' ').any(|name| name == node.name.as_str());
            gone.then(|| "it was not kept".to_owned())
        };
        let plan = plan(&scope, &jobs, &specs, &Indexes::default(), &is_gone).unwrap();
        assert_eq!(parted(&plan).0, runs, "{scope:?} without {gone}");
        let known = plan.definition.jobs.iter().zip(&plan.jobs);
        let told = known.filter(|(_, known)| {
            let ended = known.ended.as_ref();
            ended.is_some_and(|status| status.output_lost() == Some("it was not kept"))
        });
        let told: Vec<&str> = told.map(|(spec, _)| spec.name.as_str()).collect();
        assert_eq!(told.join(" "), lost, "{scope:?} without {gone}");
    }
}

/// A maker whose output is gone does not run again: all that it has made would go with it. A recovery attempt makes the output, if it is needed.
#[test]
fn what_has_made_others_stays_though_its_output_is_gone() {
    let specs = [job("gen"), job("gen/x").after("gen"), job("gen/y").after("gen")];
    let mut jobs = build_of(&specs, &[Finished; 3]);
    jobs[1].0.generated_by = Some(0);
    jobs[2].0.generated_by = Some(0);
    let gone = |node: &JobNode, _: &JobStatus| (node.index == 0).then(|| "it was not kept".to_owned());
    let plan = plan(&of_job("gen/x", true), &jobs, &specs, &Indexes::default(), &gone).unwrap();
    assert_eq!(parted(&plan), ("gen/x".to_owned(), "gen gen/y".to_owned()));
    let maker = plan.jobs[0].ended.as_ref().unwrap();
    assert_eq!(maker.output_lost(), None, "it can be made again");
}

fn of_job(name: &str, descendants: bool) -> Scope {
    let name = JobName::new(name).unwrap();
    Scope::Job { name, descendants }
}

#[test]
fn what_runs_again_and_what_is_taken_over() {
    let flow = JobSpec {
        kind: JobKind::Workflow,
        ..job("flow")
    };
    let specs = [
        job("a"),
        job("b").after("a"),
        job("c").after_when("b", StateSet::ALL),
        job("d").after("a"),
        job("flow/x").after("d"),
        job("flow/y").after("flow/x"),
        flow.after_when("flow/y", StateSet::ALL),
    ];
    let mut ends = [Finished; 7];
    ends[1] = Failure;
    let jobs = build_of(&specs, &ends);
    for (scope, runs, taken_over) in [
        (Scope::All, "a b c d flow/x flow/y flow", ""),
        (Scope::Failed, "b c", "a d flow/x flow/y flow"),
        (of_job("b", true), "b c", "a d flow/x flow/y flow"),
        (of_job("b", false), "b", "a c d flow/x flow/y flow"),
        (of_job("flow", false), "flow/x flow/y flow", "a b c d"),
        (of_job("d", true), "d flow/x flow/y flow", "a b c"),
        (of_job("flow/y", true), "flow/y flow", "a b c d flow/x"),
    ] {
        let plan = plan(&scope, &jobs, &specs, &Indexes::default(), &|_, _| None).unwrap();
        assert_eq!(parted(&plan), (runs.to_owned(), taken_over.to_owned()), "{scope:?}");
    }
    assert_eq!(
        plan(&of_job("z", true), &jobs, &specs, &Indexes::default(), &|_, _| None).unwrap_err(),
        Error::UnknownJob(JobName::new("z").unwrap())
    );
    let well = build_of(&specs, &[Finished; 7]);
    assert_eq!(
        plan(&Scope::Failed, &well, &specs, &Indexes::default(), &|_, _| None).unwrap_err(),
        Error::NothingFailed
    );
}

/// `gen` made `gen/x`, and that `gen/x/y`; `last` follows `gen` and all that.
#[test]
fn what_was_made_goes_with_its_maker() {
    let specs = [
        job("gen"),
        job("last").after("gen").after("gen/x/y"),
        job("gen/x").after("gen"),
        job("gen/x/y").after("gen/x"),
    ];
    let mut jobs = build_of(&specs, &[Finished; 4]);
    jobs[2].0.generated_by = Some(0);
    jobs[3].0.generated_by = Some(2);
    for (scope, runs, taken_over, parents) in [
        (Scope::All, "gen last", "", 1),
        (of_job("gen", true), "gen last", "", 1),
        (of_job("gen", false), "gen", "last", 1),
        (of_job("gen/x", true), "last gen/x", "gen", 1),
        (of_job("gen/x/y", true), "last gen/x/y", "gen gen/x", 2),
    ] {
        let plan = plan(&scope, &jobs, &specs, &Indexes::default(), &|_, _| None).unwrap();
        assert_eq!(parted(&plan), (runs.to_owned(), taken_over.to_owned()), "{scope:?}");
        let last = plan.definition.jobs.iter().find(|spec| spec.name.as_str() == "last");
        assert_eq!(last.unwrap().dependencies.len(), parents, "{scope:?}");
    }
}

#[test]
fn a_shared_volume_is_not_taken_over() {
    let specs = [
        job("a").with(&[VolumeKind::Shared]),
        job("b").after("a").with(&[VolumeKind::Shared]),
        job("c"),
    ];
    let jobs = build_of(&specs, &[Finished; 3]);
    let error = plan(&of_job("b", true), &jobs, &specs, &Indexes::default(), &|_, _| None).unwrap_err();
    assert!(matches!(error, Error::Shared { .. }), "{error}");
    for scope in [Scope::All, of_job("c", true), of_job("a", true)] {
        plan(&scope, &jobs, &specs, &Indexes::default(), &|_, _| None).unwrap();
    }
}

/// The build of the first submission again.
fn again(world: &mut World, scope: &Scope, first: &Submission) -> Submission {
    again_without(world, scope, first, "")
}

/// The same while the output of the job with this name is gone.
fn again_without(world: &mut World, scope: &Scope, first: &Submission, gone: &str) -> Submission {
    let jobs: Vec<(JobNode, JobStatus)> = build_of(&first.definition.jobs, &vec![Finished; first.jobs.len()])
        .into_iter()
        .zip(&first.jobs)
        .map(|((node, _), id)| (node, world.seen[id].clone()))
        .collect();
    let is_gone = |node: &JobNode, _: &JobStatus| (node.name.as_str() == gone).then(|| "it was not kept".to_owned());
    let plan = plan(scope, &jobs, &first.definition.jobs, &Indexes::default(), &is_gone).unwrap();
    Submission {
        definition: plan.definition.clone(),
        rerun: Some(Box::new(Rerun {
            of: 1,
            restarts: 1,
            jobs: plan.jobs,
        })),
        ..world.submission(PROJECT, plan.definition.jobs)
    }
}

#[test]
fn jobs_that_are_taken_over_are_over_and_give_their_outputs() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let first = world.submission(
        PROJECT,
        vec![job("a"), job("b").after("a"), job("c").after("b"), job("d").after("a")],
    );
    world.done(Command::Submit(Box::new(first.clone())));
    for (index, end) in [(0, Finished), (1, Failure), (3, Finished)] {
        world.report(first.jobs[index], running());
        world.report(first.jobs[index], ended(end));
    }
    assert_eq!(
        world.states(&first.jobs),
        ["finished", "failure", "skipped", "finished"]
    );
    let second = again(&mut world, &Scope::Failed, &first);
    let jobs = second.jobs.clone();
    world.done(Command::Submit(Box::new(second)));
    assert_eq!(world.states(&jobs), ["finished", "assigned", "waiting", "finished"]);
    let build = world.control.job(jobs[0]).unwrap().build;
    assert_eq!((build.number, build.restarts), (2, 1));
    let taken_over = &world.seen[&jobs[0]];
    assert_eq!(taken_over.message, "taken over from build 1");
    assert!(taken_over.is_taken_over() && !world.seen[&jobs[1]].is_taken_over());
    assert_eq!(
        (taken_over.epoch.0, taken_over.output),
        (0, world.seen[&first.jobs[0]].output)
    );
    let assignment = world.control.assignment(world.attempt(jobs[1])).unwrap();
    assert_eq!(assignment.inputs[0].holders, [&cluster("east")]);

    world.restart();
    let attempt = world.attempt(jobs[1]);
    world.hello("east", 8, &[(attempt, running())]);
    // Its cluster goes with the output: it is made again here.
    world.up("west", &[], 8);
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!(world.states(&jobs[1..2]), ["waiting"]);
    assert!(world.seen[&jobs[0]].is_recovering());
    for job in [jobs[0], jobs[1], jobs[2]] {
        world.report(job, ended(Finished));
    }
    assert_eq!(world.states(&jobs), ["finished"; 4]);
    assert!(world.live.builds.is_empty());
    assert_eq!(
        world.states(&first.jobs),
        ["finished", "failure", "skipped", "finished"]
    );
}

#[test]
fn conditions_hold_on_what_is_taken_over_too() {
    let mut world = World::new();
    world.up("east", &[], 8);
    let first = world.submission(PROJECT, vec![job("a"), job("b").after("a"), job("other")]);
    world.done(Command::Submit(Box::new(first.clone())));
    world.report(first.jobs[0], ended(Failure));
    world.report(first.jobs[2], ended(Finished));
    let second = again(&mut world, &of_job("b", true), &first);
    let jobs = second.jobs.clone();
    world.done(Command::Submit(Box::new(second)));
    assert_eq!(world.states(&jobs), ["failure", "skipped", "finished"]);
    assert!(world.live.builds.is_empty(), "nothing is left to run");
}

/// `b` was taken over, while `a` runs again and fails this time: what `b` left cannot be made again with that.
#[test]
fn what_is_taken_over_is_not_made_again_from_a_parent_that_now_fails() {
    let mut world = World::new();
    world.up("east", &["AWS"], 8);
    world.up("west", &["GCP"], 8);
    let first = world.submission(
        PROJECT,
        vec![
            job("a").on("GCP"),
            job("b").after("a").preferring("east"),
            job("c").after_when("a", StateSet::ALL).after("b").on("GCP"),
        ],
    );
    world.done(Command::Submit(Box::new(first.clone())));
    for (index, end) in [(0, leaves(1)), (1, leaves(2)), (2, ended(Failure))] {
        world.report(first.jobs[index], end);
    }
    let second = again_without(&mut world, &Scope::Failed, &first, "a");
    let jobs = second.jobs.clone();
    world.done(Command::Submit(Box::new(second)));
    assert_eq!(world.states(&jobs), ["assigned", "finished", "waiting"]);
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    world.report(jobs[0], ended(Failure));
    assert_eq!(world.states(&jobs), ["failure", "finished", "error"]);
    assert_eq!(
        world.seen[&jobs[2]].message,
        "the output of its parent `b` is lost: cluster `east`, which had it, was removed; it cannot be made again: its parent `a` ended as `failure`"
    );
}

#[test]
fn a_rerun_in_which_nothing_runs_is_refused() {
    let mut world = World::new();
    let first = world.submission(PROJECT, vec![job("a")]);
    let over = JobStatus {
        state: crate::build::JobState::Terminal(Finished),
        ..JobStatus::waiting(first.jobs[0])
    };
    let known = |ended| Known {
        indexes: Vec::new(),
        ended,
        generated_by: None,
    };
    for jobs in [vec![known(Some(over))], vec![], vec![known(None), known(None)]] {
        let rerun = Rerun {
            of: 1,
            restarts: 1,
            jobs,
        };
        let submission = Submission {
            rerun: Some(Box::new(rerun)),
            ..first.clone()
        };
        let refusal = world.refused(Command::Submit(Box::new(submission)));
        assert!(matches!(refusal, Refusal::Conflict(_)), "{refusal}");
    }
}

#[test]
fn a_rerun_keeps_to_the_clusters_that_its_project_has_now() {
    let confine = |world: &mut World, clusters: &str| {
        let share = Share {
            clusters: Selector::parse(clusters).unwrap(),
            ..Share::default()
        };
        world.done(Command::SetShare { id: PROJECT, share });
    };
    let mut world = World::new();
    world.up("east", &["region=us", "ssd"], 4);
    world.up("west", &["region=eu", "ssd"], 4);
    confine(&mut world, "region=us, ssd");
    // What it says itself stays.
    let specs = vec![job("a").on("ssd"), job("b").on("region=us")];
    let mut first = world.submission(PROJECT, specs);
    let effects = world.done(Command::Submit(Box::new(first.clone())));
    let stored = effects.changes.iter().find_map(|change| match change {
        Change::InsertBuild { specs, .. } => Some(specs.clone()),
        _ => None,
    });
    first.definition.jobs = stored.unwrap();
    assert_eq!(world.cluster_of(first.jobs[0]), "east");
    for job in &first.jobs {
        world.report(*job, ended(Finished));
    }
    confine(&mut world, "region=eu");
    let second = again(&mut world, &Scope::All, &first);
    world.done(Command::Submit(Box::new(second.clone())));
    assert_eq!(world.cluster_of(second.jobs[0]), "west");
    assert_eq!(
        world.states(&second.jobs[1..]),
        ["queued"],
        "it asks for another region itself"
    );
    confine(&mut world, "");
    let third = again(&mut world, &Scope::All, &first);
    world.done(Command::Submit(Box::new(third.clone())));
    let selectors = world.control.jobs(third.id).map(|job| job.node.selector.to_string());
    assert_eq!(selectors.collect::<Vec<_>>(), ["ssd", "region=us"]);
}
