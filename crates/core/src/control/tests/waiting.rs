//! Jobs that run nothing: those that wait, and those that stand for a workflow; and jobs that ask for what nobody has.

use super::super::testing::{PROJECT, World, ended, job};
use super::super::{Command, Refusal};
use crate::build::{JobKind, JobSpec, JobState, StateSet, TerminalState};
use crate::capability::Capability;
use TerminalState::{Error, Failure, Finished, Killed, Skipped, Unstable};

fn of_kind(name: &str, kind: JobKind) -> JobSpec {
    JobSpec { kind, ..job(name) }
}

fn waiting(name: &str) -> JobSpec {
    of_kind(name, JobKind::Wait)
}

/// The workflow `flow`, after these of its jobs.
fn flow(leaves: &[&str]) -> JobSpec {
    let spec = of_kind("flow", JobKind::Workflow);
    leaves
        .iter()
        .fold(spec, |spec, leaf| spec.after_when(leaf, StateSet::ALL))
}

#[test]
fn a_waiting_job_ends_with_its_parents_and_has_no_attempt() {
    for (end, expected, of_child) in [
        (Finished, "finished", "assigned"),
        (Failure, "skipped", "skipped"),
        (Unstable, "skipped", "skipped"),
    ] {
        let mut world = World::new();
        world.up("east", &[], 4);
        let (_, jobs) = world.submit(vec![
            job("a"),
            waiting("gate").after("a"),
            job("b").after("gate"),
            job("other"),
        ]);
        assert_eq!(world.states(&jobs[1..3]), ["waiting", "waiting"]);
        world.report(jobs[0], ended(end));
        assert_eq!(world.states(&jobs[1..3]), [expected, of_child], "{end}");
        let status = &world.seen[&jobs[1]];
        assert_eq!((status.epoch.0, &status.cluster), (0, &None));
        assert!(status.ended_at.is_some());
    }
}

#[test]
fn waiting_jobs_without_parents_end_at_once_and_so_may_the_build() {
    let mut world = World::new();
    let (build, jobs) = world.submit(vec![
        waiting("a"),
        waiting("b").after("a"),
        of_kind("empty", JobKind::Workflow).after("b"),
    ]);
    assert_eq!(world.states(&jobs), ["finished"; 3]);
    assert!(world.control.build(build).is_none(), "it is over");
    world.restart();

    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![waiting("a"), job("b").after("a")]);
    assert_eq!(world.states(&jobs), ["finished", "assigned"]);
    world.restart();
}

#[test]
fn a_waiting_job_can_be_cancelled() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![job("a"), waiting("gate").after("a"), job("b").after("gate")]);
    world.done(Command::CancelJob { job: jobs[1] });
    assert_eq!(world.states(&jobs), ["assigned", "killed", "skipped"]);
    world.report(jobs[0], ended(Finished));
    assert_eq!(world.state(jobs[1]), JobState::Terminal(Killed));
}

/// A workflow of `flow/a`, `flow/b` after it, and `flow/c` beside.
#[test]
fn a_workflow_ends_as_its_jobs_do() {
    let any = StateSet::ALL;
    for (a, b, c, on, expected) in [
        (Finished, Finished, Finished, StateSet::of(&[Finished]), Finished),
        (Finished, Unstable, Finished, StateSet::of(&[Finished]), Unstable),
        (Finished, Failure, Unstable, StateSet::of(&[Finished]), Failure),
        // What is skipped after it says nothing of itself.
        (Failure, Skipped, Finished, StateSet::of(&[Finished]), Failure),
        (Error, Skipped, Failure, StateSet::of(&[Finished]), Error),
        // What comes after it makes nothing good.
        (Failure, Finished, Finished, any, Failure),
        (Finished, Finished, Killed, any, Killed),
    ] {
        let mut world = World::new();
        world.up("east", &[], 4);
        let (_, jobs) = world.submit(vec![
            job("flow/a"),
            job("flow/b").after_when("flow/a", on),
            job("flow/c"),
            flow(&["flow/b", "flow/c"]),
            job("after").after_when("flow", StateSet::of(&[expected])),
            job("unless").after_when("flow", any),
        ]);
        world.report(jobs[0], ended(a));
        if b != Skipped {
            world.report(jobs[1], ended(b));
        }
        assert_eq!(world.states(&jobs[3..]), ["waiting"; 3], "not all have ended");
        world.report(jobs[2], ended(c));
        assert_eq!(world.state(jobs[1]).terminal(), Some(b));
        assert_eq!(world.state(jobs[3]).terminal(), Some(expected), "{a} {b} {c}");
        assert_eq!(world.states(&jobs[4..]), ["assigned", "assigned"]);
        let message = &world.seen[&jobs[3]].message;
        assert_eq!(message.is_empty(), expected == Finished, "{message}");
        assert!(
            expected == Finished || message.contains("`flow/") && message.ends_with(&format!("ended as `{expected}`")),
            "{message}"
        );
    }
}

#[test]
fn a_workflow_that_is_not_begun_is_skipped() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![
        job("before"),
        job("flow/a").after("before"),
        job("flow/b").after("flow/a"),
        flow(&["flow/b"]),
        job("after").after("flow"),
        job("other"),
    ]);
    world.report(jobs[0], ended(Failure));
    assert_eq!(world.states(&jobs[1..5]), ["skipped"; 4]);
    assert_eq!(world.seen[&jobs[3]].message, "all its jobs were skipped");
}

/// Names that only begin alike are not of the workflow, and what came before it is not either.
#[test]
fn a_workflow_answers_for_its_own_jobs_only() {
    let mut world = World::new();
    world.up("east", &[], 4);
    let (_, jobs) = world.submit(vec![
        job("before"),
        job("flow-2"),
        job("flow/a").after_when("before", StateSet::ALL),
        flow(&["flow/a", "flow-2"]),
        job("other"),
    ]);
    world.report(jobs[0], ended(Failure));
    world.report(jobs[1], ended(Error));
    world.report(jobs[2], ended(Finished));
    assert_eq!(world.state(jobs[3]), JobState::Terminal(Finished));
}

#[test]
fn what_no_cluster_has_is_refused_at_once_in_a_sentence() {
    let needing = |name: &str, needs: &[Capability]| JobSpec {
        needs: needs.iter().copied().collect(),
        ..job(name)
    };
    let mut world = World::new();
    world.up("east", &[], 4);
    let jobs = vec![
        job("plain"),
        needing("a", &[Capability::Docker, Capability::Services]),
        needing("b", &[Capability::Docker]),
        needing("c", &[Capability::Docker]),
        needing("d", &[Capability::Docker]),
    ];
    let submission = world.submission(PROJECT, jobs);
    let refusal = world.refused(Command::Submit(Box::new(submission)));
    assert!(matches!(refusal, Refusal::Unsupported(_)));
    assert_eq!(
        refusal.to_string(),
        "no cluster here has what the build needs: `docker` (for jobs `a`, `b`, `c` and 1 more); `services` (for job `a`)"
    );
}

#[test]
fn nothing_is_refused_that_a_cluster_may_have_which_has_not_connected_since_the_master_began() {
    let mut world = World::new();
    world.up("east", &[], 4);
    world.join("west", &[]);
    world.hello_with("west", 1, &[Capability::Docker]);
    world.restart();
    let docker = || JobSpec {
        needs: [Capability::Docker].into_iter().collect(),
        ..job("a")
    };
    world.hello_with("east", 1, &[]);
    let (_, jobs) = world.submit(vec![docker()]);
    assert_eq!(world.states(&jobs), ["queued"]);
    world.hello_with("west", 1, &[Capability::Docker]);
    assert_eq!(world.cluster_of(jobs[0]), "west");
    // Now it is known of all of them.
    let services = JobSpec {
        needs: [Capability::Services].into_iter().collect(),
        ..job("a")
    };
    let submission = world.submission(PROJECT, vec![services]);
    let refusal = world.refused(Command::Submit(Box::new(submission)));
    assert!(matches!(refusal, Refusal::Unsupported(_)), "{refusal:?}");
}

#[test]
fn a_job_goes_only_where_its_executor_can_do_what_it_needs() {
    let mut world = World::new();
    world.up("east", &[], 4);
    world.join("west", &[]);
    world.hello_with("west", 1, &[Capability::Docker]);
    let needing = |name: &str| JobSpec {
        needs: [Capability::Docker].into_iter().collect(),
        ..job(name)
    };
    let (_, jobs) = world.submit(vec![needing("a"), needing("b"), job("c")]);
    assert_eq!(world.states(&jobs), ["assigned", "queued", "assigned"]);
    assert_eq!(world.cluster_of(jobs[0]), "west");
    let explanation = world.control.explain(jobs[1]).unwrap();
    let east = &explanation.clusters[0];
    assert_eq!(
        east.misses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["it has no `docker`, which the job needs"]
    );
    // Where it was said is known again when the agent has connected.
    world.restart();
}
