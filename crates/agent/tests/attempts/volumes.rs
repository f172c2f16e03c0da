//! Volumes between jobs: shared within a build, kept over agents, and removed when they are released.

use std::time::Duration;

use tombolo_agent::seam::{Instruction, Notice};
use tombolo_core::attempt::Assignment;
use tombolo_core::build::TerminalState;
use tombolo_core::volume::{VolumeId, VolumeKind, VolumeSet};

use crate::cluster::{Agent, Cluster, script, until};

fn with(kind: VolumeKind, text: &str) -> Assignment {
    let mut assignment = script(text);
    assignment.job.volumes = VolumeSet::of(&[kind]);
    assignment
}

async fn until_released(agent: &mut Agent, volume: VolumeId) {
    agent.tell(Instruction::Release(volume)).await;
    while agent.notice().await != Notice::Released(volume) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_job_leaves_in_a_shared_volume_the_next_one_finds() {
    let cluster = Cluster::new().await;
    let first = with(
        VolumeKind::Shared,
        "echo left > /tombolo/shared/note; ln -s / /tombolo/shared/out",
    );
    let mut second = with(VolumeKind::Shared, "cat /infrabox/shared/note; ls /tombolo");
    let mut stranger = with(VolumeKind::Shared, "ls /tombolo/shared | wc -l");
    stranger.build.number = 43;
    second.build = first.build.clone();
    for assignment in [&first, &second, &stranger] {
        let outcome = cluster.run(assignment).await;
        assert_eq!(outcome.state, TerminalState::Finished, "{outcome:?}");
    }
    let printed = cluster.printed(second.attempt);
    assert_eq!(printed.first().map(String::as_str), Some("left"));
    assert!(
        !printed.contains(&"workspace".to_owned()),
        "it did not ask for that: {printed:?}"
    );
    assert_eq!(
        cluster.printed(stranger.attempt),
        ["0"],
        "another build has another volume"
    );

    let volume = VolumeId::Shared(first.build.build);
    let folder = cluster.scratch("volumes").join(volume.to_string());
    let mut agent = cluster.start();
    assert!(agent.held.contains(&volume) && agent.held.len() == 2);
    for attempt in [first.attempt, second.attempt] {
        agent.forget(attempt).await;
    }
    assert!(folder.join("note").exists(), "attempts take nothing of it along");
    until_released(&mut agent, volume).await;
    until(|| !folder.exists()).await;
    agent.stop().await;
    assert_eq!(cluster.start().held.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_released_goes_after_those_who_use_it_and_after_a_crash() {
    let cluster = Cluster::new().await;
    let job = with(
        VolumeKind::Workspace,
        "echo here > /tombolo/workspace/note; echo began; sleep 60",
    );
    let volume = VolumeId::Workspace(job.build.project);
    let folder = cluster.scratch("volumes").join(volume.to_string());
    let mut agent = cluster.start();
    agent.assign(&job).await;
    cluster.until_printed(job.attempt, "began").await;
    until_released(&mut agent, volume).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(folder.join("note").exists());
    agent.die().await;

    let mut agent = cluster.start();
    assert_eq!(agent.held, [], "it is released");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(folder.join("note").exists(), "its job runs still");
    agent.cancel(job.attempt).await;
    assert_eq!(agent.outcome(job.attempt).await.state, TerminalState::Killed);
    agent.forget(job.attempt).await;
    until(|| !folder.exists()).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_without_a_record_are_told_of() {
    let cluster = Cluster::new().await;
    let volume = VolumeId::Workspace(script("true").build.project);
    let folder = cluster.scratch("volumes").join(volume.to_string());
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    let mut agent = cluster.start();
    while agent.notice().await != Notice::Holds(volume) {}
    until_released(&mut agent, volume).await;
    until(|| !folder.exists()).await;
    agent.stop().await;
}
