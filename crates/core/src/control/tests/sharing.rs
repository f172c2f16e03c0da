//! Jobs that share a volume are told of what others ask for as what these ask for.

use super::super::asked_by_sharers;
use super::super::record::JobNode;
use super::super::testing::{World, job};
use crate::build::JobSpec;
use crate::id::JobId;
use crate::volume::VolumeKind::{Shared, Workspace};

fn shared(name: &str) -> JobSpec {
    job(name).with(&[Shared])
}

fn said(world: &World, job: JobId) -> (String, String) {
    let explanation = world.control.explain(job).unwrap();
    (explanation.summary, explanation.advice.unwrap_or_default())
}

#[test]
fn what_others_require_is_said_to_be_theirs() {
    let mut world = World::new();
    world.up("east", &["region=us"], 4);
    let (_, jobs) = world.submit(vec![
        shared("plain"),
        shared("eu").on("region=eu"),
        shared("also").on("region=eu"),
    ]);
    let nearest = "no cluster can run it; the nearest is `east`";
    let label = "or `tombolo cluster label east region=eu`";
    assert_eq!(
        said(&world, jobs[0]),
        (
            format!(
                "{nearest}: selector `region=eu` of `eu`, with which it shares the volume, does not hold (it is `us`)"
            ),
            format!("to have it fit on cluster `east`: leave `region=eu` out of the selector of `eu`, {label}")
        )
    );
    for own in [jobs[1], jobs[2]] {
        assert_eq!(
            said(&world, own),
            (
                format!("{nearest}: selector `region=eu` does not hold (it is `us`)"),
                format!("to have it fit on cluster `east`: leave `region=eu` out of its selector, {label}")
            )
        );
    }
}

#[test]
fn who_needs_the_most_is_named() {
    let mut world = World::new();
    world.up("east", &[], 2);
    let (_, jobs) = world.submit(vec![shared("small").cpu(500), shared("large").cpu(64_000)]);
    let nearest = "no cluster can run it; the nearest is `east`: it has 2 cpu in all";
    assert_eq!(
        said(&world, jobs[0]),
        (
            format!("{nearest}, `large`, with which it shares the volume, needs 64"),
            "to have it fit on cluster `east`: have `large` ask for at most 2 cpu, or give the cluster 64".to_owned()
        )
    );
    assert_eq!(
        said(&world, jobs[1]),
        (
            format!("{nearest}, the job needs 64"),
            "to have it fit on cluster `east`: ask for at most 2 cpu, or give the cluster 64".to_owned()
        )
    );
}

/// Also of jobs that say nothing themselves.
#[test]
fn those_that_exclude_each_other_are_named_with_what_they_need() {
    let mut world = World::new();
    world.up("east", &["region=us"], 4);
    let (_, jobs) = world.submit(vec![
        shared("vol").on("region=us"),
        shared("conflict").on("region=eu"),
        shared("plain"),
        job("alone"),
    ]);
    let all = "no cluster can ever run all jobs that share its volume";
    let without = "or have one of these jobs go without the volume";
    for (job, needs, remedy) in [
        (
            jobs[0],
            "it needs `region=us`, `conflict` needs `region=eu`",
            "`region=us` out of its selector, or `region=eu` out of the selector of `conflict`",
        ),
        (
            jobs[1],
            "`vol` needs `region=us`, it needs `region=eu`",
            "`region=us` out of the selector of `vol`, or `region=eu` out of its selector",
        ),
        (
            jobs[2],
            "`vol` needs `region=us`, `conflict` needs `region=eu`",
            "`region=us` out of the selector of `vol`, or `region=eu` out of the selector of `conflict`",
        ),
    ] {
        assert_eq!(
            said(&world, job),
            (format!("{all}: {needs}"), format!("take {remedy}, {without}"))
        );
    }
    assert_eq!(world.cluster_of(jobs[3]), "east", "others are not concerned");
}

#[test]
fn a_job_that_is_over_is_told_what_others_asked_for() {
    let nodes = |specs: &[JobSpec]| -> Vec<JobNode> {
        let build = crate::id::BuildId::from_u128(1);
        let node = |(index, spec): (u32, &JobSpec)| {
            JobNode::new(JobId::from_u128(u128::from(index)), build, index, spec, Vec::new())
        };
        (0..).zip(specs).map(node).collect()
    };
    let all = nodes(&[
        shared("plain"),
        shared("gpu").on("gpu>0, AWS").cpu(2000),
        shared("also").on("AWS, gpu>0"),
        job("alone").on("GCP"),
        job("kept").with(&[Workspace]),
    ]);
    let asked = |index: usize| asked_by_sharers(&all[index], all.iter());
    assert_eq!(
        asked(0).as_deref(),
        Some("`gpu` needed `gpu>0`, `AWS`, `gpu` needed 2 cpu")
    );
    assert_eq!(asked(1).as_deref(), Some(""));
    assert_eq!(asked(2).as_deref(), Some("`gpu` needed 2 cpu"));
    assert_eq!((asked(3), asked(4)), (None, None));
    let single = nodes(&[shared("plain")]);
    assert_eq!(asked_by_sharers(&single[0], single.iter()), None);
}
