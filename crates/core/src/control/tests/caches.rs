//! Records of caches.

use std::time::Duration;

use super::super::testing::{PROJECT, World, cluster, digest, ended, job, outcome};
use super::super::{Caution, Change, Command, Refusal, Reply, Settings};
use crate::attempt::{Outcome, OutputReference, Phase, Revision};
use crate::build::TerminalState::{self, Error, Failure, Finished, Killed, Unstable};
use crate::cache::{Cache, Policy};
use crate::id::{BuildId, JobId, ProjectId};
use crate::name::JobName;

fn content(manifest: u8, bytes: u64) -> OutputReference {
    OutputReference {
        manifest: digest(manifest),
        bytes,
        files: 1,
    }
}

fn leaves(state: TerminalState, manifest: u8) -> Phase {
    Phase::Ended(Outcome {
        cache: Some(Box::new(content(manifest, 10))),
        ..outcome(state)
    })
}

fn world(change: impl FnOnce(&mut Settings)) -> World {
    let mut settings = Settings::default();
    change(&mut settings);
    let mut world = World::with(settings);
    world.up("east", &["AWS"], 4);
    world.up("west", &["GCP"], 4);
    world
}

/// A build of a job `build` on a branch, on the clusters that the selector names, beside a job that goes on.
fn submit(world: &mut World, branch: &str, selector: &str) -> (BuildId, JobId) {
    let mut submission = world.submission(
        PROJECT,
        vec![job("build").on(selector).with_cache(), job("keeper").on("nowhere")],
    );
    submission.revision = Revision {
        branch: (!branch.is_empty()).then(|| branch.to_owned()),
        ..Revision::default()
    };
    let ids = (submission.id, submission.jobs[0]);
    world.done(Command::Submit(Box::new(submission)));
    ids
}

/// The manifest that a job which was just placed starts from.
fn start(world: &World, job: JobId) -> Option<u8> {
    let view = world.control.assignment(world.attempt(job)).unwrap().cache.unwrap();
    view.start.map(|cache| cache.content.manifest.as_bytes()[0])
}

fn kept(world: &World) -> Vec<(String, String, u8)> {
    let caches = world.control.caches(PROJECT);
    let line = |cache: &Cache| {
        let (branch, cluster) = (cache.key.branch.clone(), cache.key.cluster.to_string());
        (branch, cluster, cache.content.manifest.as_bytes()[0])
    };
    let mut lines: Vec<_> = caches.map(line).collect();
    lines.sort();
    let mut written: Vec<_> = world.live.caches.iter().map(line).collect();
    written.sort();
    assert_eq!(lines, written, "what is in memory is what was written");
    lines
}

fn line(branch: &str, cluster: &str, manifest: u8) -> (String, String, u8) {
    (branch.to_owned(), cluster.to_owned(), manifest)
}

#[test]
fn the_next_build_starts_from_what_the_last_has_left() {
    let mut world = world(|_| {});
    let (_, first) = submit(&mut world, "main", "AWS");
    assert_eq!(start(&world, first), None);
    world.report(first, leaves(Finished, 1));
    assert_eq!(kept(&world), [line("main", "east", 1)]);
    let (_, second) = submit(&mut world, "main", "AWS");
    assert_eq!(start(&world, second), Some(1));
    world.report(second, leaves(Finished, 2));
    assert_eq!(kept(&world), [line("main", "east", 2)]);
    world.restart();
    assert_eq!(kept(&world), [line("main", "east", 2)]);
}

#[test]
fn only_jobs_that_finished_and_asked_leave_one() {
    for state in [Failure, Error, Unstable, Killed] {
        let mut world = world(|_| {});
        let (_, one) = submit(&mut world, "main", "AWS");
        world.report(one, leaves(state, 1));
        assert_eq!(kept(&world), [], "{state}");
    }
    let mut world = world(|_| {});
    let (_, jobs) = world.submit(vec![job("plain").on("AWS"), job("keeper").on("nowhere")]);
    assert!(
        world
            .control
            .assignment(world.attempt(jobs[0]))
            .unwrap()
            .cache
            .is_none()
    );
    world.report(jobs[0], leaves(Finished, 1));
    assert_eq!(kept(&world), []);
    let (_, cancelled) = submit(&mut world, "main", "AWS");
    world.done(Command::CancelJob { job: cancelled });
    world.report(cancelled, leaves(Finished, 1));
    assert_eq!(kept(&world), []);
    let (_, nothing) = submit(&mut world, "main", "AWS");
    world.report(nothing, ended(Finished));
    assert_eq!(kept(&world), []);
}

#[test]
fn other_branches_start_from_the_default_one_and_go_their_own_way() {
    let mut world = world(|_| {});
    for (branch, expected, manifest) in [
        ("topic", None, 1),
        ("main", None, 2),
        ("other", Some(2), 3),
        ("topic", Some(1), 4),
        ("", Some(2), 5),
        ("", Some(5), 6),
        ("main", Some(2), 7),
    ] {
        let (_, job) = submit(&mut world, branch, "AWS");
        assert_eq!(start(&world, job), expected, "{branch} {manifest}");
        world.report(job, leaves(Finished, manifest));
    }
    let expected = [("", 6), ("main", 7), ("other", 3), ("topic", 4)];
    assert_eq!(
        kept(&world),
        expected.map(|(branch, manifest)| line(branch, "east", manifest))
    );
}

#[test]
fn another_cluster_starts_from_a_copy_if_it_may() {
    for (policy, expected) in [(Policy::Federated, Some(1)), (Policy::Local, None)] {
        let mut world = world(|settings| settings.caches.policy = policy);
        let (_, first) = submit(&mut world, "main", "AWS");
        world.report(first, leaves(Finished, 1));
        let (_, second) = submit(&mut world, "main", "GCP");
        assert_eq!(start(&world, second), expected, "{policy:?}");
        world.report(second, leaves(Finished, 1));
        assert_eq!(kept(&world), [line("main", "east", 1), line("main", "west", 1)]);
        let (_, third) = submit(&mut world, "main", "GCP");
        let view = world.control.assignment(world.attempt(third)).unwrap().cache.unwrap();
        let holders: Vec<_> = view.holders.iter().map(|name| name.as_str()).collect();
        // The same content is elsewhere too, should the own store have lost it.
        match policy {
            Policy::Federated => assert_eq!(holders, ["west", "east"]),
            Policy::Local => assert_eq!(holders, ["west"]),
        }
    }
}

#[test]
fn what_an_attempt_without_effect_says_changes_nothing() {
    let mut world = world(|_| {});
    let (_, job) = submit(&mut world, "main", "AWS");
    let stale = world.attempt(job);
    // Its cluster is silent for so long that the job is replaced, and then is back.
    world.pass(Duration::from_secs(31));
    world.hello("east", 4, &[]);
    assert!(world.attempt(job).epoch > stale.epoch);
    let command = world.report_command("east", stale, leaves(Finished, 1));
    assert!(matches!(world.refused(command), Refusal::StaleAttempt(_)));
    assert_eq!(kept(&world), []);
    world.report(job, leaves(Finished, 2));
    assert_eq!(kept(&world), [line("main", "east", 2)]);
    // Said twice, it counts once; said by another build's attempt, the last one counts.
    let again = world.report_command("east", world.attempt(job), leaves(Finished, 3));
    world.done(again);
    assert_eq!(kept(&world), [line("main", "east", 2)]);
}

#[test]
fn limits_hold_at_each_save_and_with_time() {
    let mut world = world(|settings| {
        settings.caches.limits.cache_bytes = 10;
        settings.caches.limits.project_bytes = 25;
        settings.caches.limits.unused = Duration::from_secs(4 * 3600);
    });
    for (branch, manifest) in [("a", 1), ("b", 2), ("c", 3)] {
        world.advance(Duration::from_secs(1));
        let (_, job) = submit(&mut world, branch, "AWS");
        world.report(job, leaves(Finished, manifest));
        world.hello("east", 4, &[]);
    }
    assert_eq!(kept(&world), [line("b", "east", 2), line("c", "east", 3)]);
    // One that is larger than a cluster may leave is not taken, whatever the cluster says.
    let (_, job) = submit(&mut world, "b", "AWS");
    world.report(
        job,
        Phase::Ended(Outcome {
            cache: Some(Box::new(content(9, 11))),
            ..outcome(Finished)
        }),
    );
    assert_eq!(kept(&world), [line("b", "east", 2), line("c", "east", 3)]);
    // Whoever is given one uses it.
    world.pass(Duration::from_secs(3 * 3600));
    world.hello("east", 4, &[]);
    submit(&mut world, "b", "AWS");
    world.pass(Duration::from_secs(3600 + 60));
    assert_eq!(kept(&world), [line("b", "east", 2)]);
    world.restart();
    assert!(world.control.next_deadline().is_some());
    world.pass(Duration::from_secs(5 * 3600));
    assert_eq!(kept(&world), []);
}

#[test]
fn caches_are_cleared_by_users_and_go_with_what_they_belong_to() {
    let story = || {
        let mut world = world(|_| {});
        for (branch, selector, manifest) in [("main", "AWS", 1), ("main", "GCP", 2), ("topic", "AWS", 3)] {
            let (build, job) = submit(&mut world, branch, selector);
            world.report(job, leaves(Finished, manifest));
            world.done(Command::CancelBuild {
                build,
                extent: Default::default(),
            });
        }
        world
    };
    let name = |name| Some(JobName::new(name).unwrap());
    for (job, branch, left) in [
        (None, None, vec![]),
        (name("build"), None, vec![]),
        (name("other"), None, vec![1, 2, 3]),
        (None, Some("main"), vec![3]),
        (name("build"), Some("topic"), vec![1, 2]),
        (None, Some(""), vec![1, 2, 3]),
    ] {
        let mut world = story();
        let effects = world.done(Command::ClearCaches {
            project: PROJECT,
            job,
            branch: branch.map(str::to_owned),
        });
        let Ok(Reply::Cleared(cleared)) = effects.reply else {
            panic!("{:?}", effects.reply)
        };
        assert_eq!(cleared.len() + left.len(), 3);
        let mut manifests: Vec<u8> = kept(&world).into_iter().map(|(_, _, manifest)| manifest).collect();
        manifests.sort_unstable();
        assert_eq!(manifests, left);
    }
    let mut world = story();
    let project = ProjectId::from_u128(99);
    let unknown = Command::ClearCaches {
        project,
        job: None,
        branch: None,
    };
    assert!(matches!(
        world.refused(unknown),
        Refusal::NotFound { kind: "project", .. }
    ));
    world.done(Command::RemoveCluster {
        name: cluster("east"),
        caution: Caution::None,
    });
    assert_eq!(kept(&world), [line("main", "west", 2)]);
    let effects = world.done(Command::DeleteProject { id: PROJECT });
    assert_eq!(effects.changes, [Change::DeleteProject(PROJECT)]);
    assert_eq!(kept(&world), []);
}
