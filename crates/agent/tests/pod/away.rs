//! The agent goes away and comes back, with and without what it had in memory, whatever the pod is doing.

use std::fs;
use std::time::Duration;

use tombolo_agent::supervisor::Ending;
use tombolo_proto::courier::v1::finish_request::Output;

use crate::agent::{Agent, specification};
use crate::life::noise;
use crate::setting::{Pod, until};

const SCRIPT: &str =
    "for i in $(seq 200); do echo line $i; sleep 0.005; done; cp $TOMBOLO_INPUTS/a/large $TOMBOLO_OUTPUT/
    head -c 3000000 /dev/urandom > $TOMBOLO_OUTPUT/new";

async fn agent() -> Agent {
    let agent = Agent::start("east", &specification(SCRIPT)).await;
    let input = tempfile::tempdir().unwrap();
    fs::write(input.path().join("large"), noise(12 << 20)).unwrap();
    agent.add_material("inputs/a", input.path());
    agent
}

async fn ends_well(agent: &Agent, pod: &mut Pod) {
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    let expected = (1..=200).map(|number| format!("line {number}"));
    assert!(agent.lines().into_iter().eq(expected), "{:?}", agent.lines());
    let known = agent.known();
    assert_eq!(known.exit.as_ref().unwrap().ending, Ending::Exited { code: 0 });
    let manifest = known.manifest.as_ref().unwrap();
    assert_eq!((manifest.files(), manifest.bytes()), (2, (12 << 20) + 3_000_000));
    let finish = known.finish.as_ref().unwrap();
    assert_eq!(
        finish.output,
        Some(Output::Manifest(manifest.digest().as_bytes().to_vec()))
    );
}

/// Goes away for a moment.
async fn restart(agent: &mut Agent) {
    agent.go().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.come().await;
}

#[tokio::test]
async fn before_the_pod_is_there() {
    let mut agent = agent().await;
    agent.go().await;
    let mut pod = Pod::start(&agent);
    tokio::time::sleep(Duration::from_millis(500)).await;
    agent.come().await;
    ends_well(&agent, &mut pod).await;
}

#[tokio::test]
async fn while_inputs_come_and_while_the_command_waits() {
    let mut agent = agent().await;
    agent.order(|orders| orders.begin = false);
    let mut pod = Pod::start(&agent);
    until("a chunk is asked for", || {
        agent.known().calls.contains_key("get_chunks")
    })
    .await;
    restart(&mut agent).await;
    until("staged", || agent.known().staged > 0).await;
    let staged = agent.known().staged;
    restart(&mut agent).await;
    until("staged is said again", || agent.known().staged > staged).await;
    agent.order(|orders| orders.begin = true);
    ends_well(&agent, &mut pod).await;
}

#[tokio::test]
async fn while_the_command_runs_with_lines_that_it_had_not_kept() {
    let mut agent = agent().await;
    let mut pod = Pod::start(&agent);
    for lines in [10, 60, 120] {
        until("lines", || agent.known().log.len() >= lines).await;
        restart(&mut agent).await;
    }
    assert!(agent.known().exit.is_none());
    ends_well(&agent, &mut pod).await;
    assert!(agent.known().sessions >= 4);
}

#[tokio::test]
async fn when_the_command_ends_and_while_the_output_goes() {
    let mut agent = agent().await;
    let mut pod = Pod::start(&agent);
    until("started", || agent.known().started_at.is_some()).await;
    agent.go().await;
    let exit = pod.path("system/attempt/exit.json");
    until("the command has ended", || exit.exists()).await;
    agent.come().await;
    until("chunks are sent", || agent.known().calls.contains_key("put_chunks")).await;
    restart(&mut agent).await;
    ends_well(&agent, &mut pod).await;
}

#[tokio::test]
async fn every_call_that_fails_for_a_while_is_repeated() {
    let agent = agent().await;
    let calls = [
        "describe",
        "get_manifest",
        "get_chunks",
        "session",
        "find_missing",
        "put_chunks",
        "put_manifest",
        "finish",
    ];
    agent.known().faults = calls.map(|call| (call, 3)).into();
    let mut pod = Pod::start(&agent);
    ends_well(&agent, &mut pod).await;
    assert!(
        agent.known().faults.values().all(|left| *left == 0),
        "{:?}",
        agent.known().faults
    );
}

/// A command that ends with its cluster's lease, in a pod whose agent renews it and then is gone.
#[tokio::test]
async fn an_exclusive_command_ends_when_the_agent_stays_away_for_a_lease() {
    const LEASE: Duration = Duration::from_secs(4);
    let mut specification = specification("echo up; while :; do sleep 0.05; done");
    specification.exclusive = true;
    let mut agent = Agent::start("east", &specification).await;
    agent.known().lease = Some(LEASE);
    let mut pod = Pod::start(&agent);
    until("the command runs", || agent.lines() == ["up"]).await;
    tokio::time::sleep(2 * LEASE).await;
    assert!(
        agent.known().exit.is_none(),
        "it goes on for as long as the agent answers"
    );
    agent.go().await;
    let exit = pod.path("system/attempt/exit.json");
    until("the command is stopped", || exit.exists()).await;
    agent.come().await;
    assert_eq!(pod.ended().await, (Some(143), Some(0)));
    assert_eq!(agent.known().exit.as_ref().unwrap().ending, Ending::LeaseEnded);
}
