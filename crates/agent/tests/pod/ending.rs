//! The ways in which a pod's command ends, or never begins.

use std::fs;
use std::time::{Duration, Instant};

use tombolo_agent::supervisor::Ending;
use tombolo_proto::courier::v1::Nothing;
use tombolo_proto::courier::v1::finish_request::Output;

use crate::agent::{Agent, specification};
use crate::setting::{Pod, until};

fn ending(agent: &Agent) -> Ending {
    agent.known().exit.as_ref().unwrap().ending.clone()
}

fn output(agent: &Agent) -> Output {
    agent.known().finish.clone().unwrap().output.unwrap()
}

#[tokio::test]
async fn a_stop_before_the_begin_prevents_it() {
    let agent = Agent::start("east", &specification("echo started")).await;
    // Before the supervisor is there, and both at once: the stop counts.
    agent.order(|orders| orders.stop = Some(false));
    let mut pod = Pod::new();
    pod.start_courier(&agent, "east");
    tokio::time::sleep(Duration::from_millis(300)).await;
    pod.start_job();
    assert_eq!(pod.ended().await, (Some(143), Some(0)));
    assert_eq!(ending(&agent), Ending::Stopped);
    assert!(agent.lines().is_empty() && agent.known().started_at.is_none());
    assert_eq!(output(&agent), Output::Nothing(Nothing {}));
    // While it waits.
    let agent = Agent::start("east", &specification("echo started")).await;
    agent.order(|orders| orders.begin = false);
    let mut pod = Pod::start(&agent);
    until("staged", || agent.known().staged > 0).await;
    agent.order(|orders| orders.stop = Some(false));
    assert_eq!(pod.ended().await, (Some(143), Some(0)));
    assert_eq!(ending(&agent), Ending::Stopped);
    assert!(agent.lines().is_empty() && agent.known().started_at.is_none());
}

#[tokio::test]
async fn a_stop_gives_the_grace_and_no_more() {
    let script = "trap 'echo asked' TERM; echo runs; while :; do sleep 0.05; done";
    for (immediately, expected) in [
        (
            false,
            &["runs", "tombolo: a stop was asked for; the command is stopped", "asked"][..],
        ),
        (true, &["runs", "tombolo: a stop was asked for; the command is stopped"]),
    ] {
        let agent = Agent::start("east", &specification(script)).await;
        let mut pod = Pod::start(&agent);
        until("it runs", || !agent.known().log.is_empty()).await;
        let began = Instant::now();
        agent.order(|orders| orders.stop = Some(immediately));
        assert_eq!(pod.ended().await, (Some(143), Some(0)));
        assert!(immediately || began.elapsed() >= Duration::from_millis(300));
        assert_eq!(ending(&agent), Ending::Stopped);
        // Some shells say of their child that it was terminated.
        let mut lines = agent.lines();
        lines.retain(|line| line != "Terminated");
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn the_system_s_wish_is_told_from_the_user_s() {
    let script = "echo runs; echo kept > $TOMBOLO_OUTPUT/kept; sleep 600";
    let agent = Agent::start("east", &specification(script)).await;
    let mut pod = Pod::start(&agent);
    until("it runs", || !agent.known().log.is_empty()).await;
    // As Kubernetes does it: all containers are asked at the same time.
    pod.courier.as_ref().unwrap().signal("-TERM");
    pod.job.as_ref().unwrap().signal("-TERM");
    assert_eq!(pod.ended().await, (Some(143), Some(0)));
    assert_eq!(ending(&agent), Ending::Terminated);
    assert!(matches!(output(&agent), Output::Manifest(_)));
    // Before the command may start.
    let agent = Agent::start("east", &specification(script)).await;
    agent.order(|orders| orders.begin = false);
    let mut pod = Pod::start(&agent);
    until("staged", || agent.known().staged > 0).await;
    pod.job.as_ref().unwrap().signal("-TERM");
    assert_eq!(pod.ended().await, (Some(143), Some(0)));
    assert_eq!((ending(&agent), agent.known().started_at), (Ending::Terminated, None));
}

#[tokio::test]
async fn a_courier_without_a_supervisor_ends_when_it_is_asked_to() {
    let agent = Agent::start("east", &specification("true")).await;
    let mut pod = Pod::new();
    pod.start_courier(&agent, "east");
    until("a session", || agent.known().sessions > 0).await;
    let courier = pod.courier.as_mut().unwrap();
    courier.signal("-TERM");
    assert_eq!(courier.ended().await, Some(0));
}

#[tokio::test]
async fn a_courier_does_not_outlive_a_supervisor_that_is_killed() {
    let agent = Agent::start("east", &specification("echo runs; sleep 600")).await;
    let mut pod = Pod::start(&agent);
    until("it runs", || !agent.known().log.is_empty()).await;
    pod.job.as_ref().unwrap().signal("-KILL");
    assert_eq!(pod.ended().await, (None, Some(1)));
    assert!(agent.known().exit.is_none() && agent.known().finish.is_none());
}

#[tokio::test]
async fn an_output_that_cannot_be_stored_is_refused_with_the_reason() {
    let script = "python3 -c \"import socket, os; s = socket.socket(socket.AF_UNIX); os.chdir(os.environ['TOMBOLO_OUTPUT']); s.bind('odd')\"
        test -S $TOMBOLO_OUTPUT/odd";
    let agent = Agent::start("east", &specification(script)).await;
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    let Output::Refused(reason) = output(&agent) else {
        panic!("{:?}", output(&agent));
    };
    assert!(reason.contains("`odd` is a socket"), "{reason}");
    // Removed altogether.
    let agent = Agent::start("east", &specification("rmdir $TOMBOLO_OUTPUT")).await;
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(0), Some(0)));
    assert_eq!(output(&agent), Output::Nothing(Nothing {}));
}

#[tokio::test]
async fn a_lack_of_memory_is_known_by_the_control_group() {
    let script = "echo 'oom_kill 1' > $TOMBOLO_ROOT/../cgroup/memory.events; exit $CODE";
    for (code, expected) in [
        (
            137,
            Ending::OutOfMemory {
                limit_bytes: Some(128 << 20),
                code: Some(137),
            },
        ),
        (0, Ending::Exited { code: 0 }),
    ] {
        let mut specification = specification(script);
        specification
            .job_environment
            .insert("CODE".to_owned(), code.to_string());
        let agent = Agent::start("east", &specification).await;
        let mut pod = Pod::new();
        fs::write(pod.path("cgroup/memory.events"), "oom 0\noom_kill 0\n").unwrap();
        fs::write(pod.path("cgroup/memory.max"), "134217728\n").unwrap();
        pod.start_courier(&agent, "east");
        pod.start_job();
        assert_eq!(pod.ended().await, (Some(code), Some(0)));
        assert_eq!(ending(&agent), expected);
        assert_eq!(agent.lines().len(), usize::from(code == 0));
    }
}

#[tokio::test]
async fn commands_that_cannot_run_and_inputs_that_do_not_come() {
    let mut missing = specification("");
    missing.command = vec!["/nowhere/program".to_owned()];
    let agent = Agent::start("east", &missing).await;
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(127), Some(0)));
    assert!(matches!(ending(&agent), Ending::NotStarted { reason } if reason.contains("/nowhere/program")));

    let agent = Agent::start("east", &specification("true")).await;
    let input = tempfile::tempdir().unwrap();
    fs::write(input.path().join("text"), "x".repeat(1000)).unwrap();
    agent.add_material("inputs/a", input.path());
    agent
        .known()
        .chunks
        .values_mut()
        .for_each(|stored| *stored = stored.slice(..stored.len() - 1));
    let mut pod = Pod::start(&agent);
    assert_eq!(pod.ended().await, (Some(1), Some(0)));
    let Ending::Fault { reason } = ending(&agent) else {
        panic!("{:?}", ending(&agent));
    };
    assert!(
        reason.starts_with("inputs/a: ") && reason.contains("cannot be decompressed"),
        "{reason}"
    );
    assert!(!pod.path("sandbox/inputs/a").exists() && agent.known().staged == 0);
}
