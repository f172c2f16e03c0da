//! What users see of an output that is lost and made again.

use http::Method;
use tombolo_api::problem::Code;
use tombolo_api::{Build, Explanation, Job, JobState};
use tombolo_core::attempt::{LostInput, Outcome, OutputReference, Phase};
use tombolo_core::build::TerminalState;
use tombolo_core::digest::Digest;
use tombolo_core::id::JobId;

use crate::agent::{Agent, ended, name};
use crate::builds::{BUILDS, CHAIN, submit, wait_for};
use crate::setting::{Master, User};

/// The lines of a job's log.
async fn log(user: &User, query: &str) -> Vec<String> {
    let path = format!("{BUILDS}/1/jobs/make/log{query}");
    let text = user.send(Method::GET, &path, None).await.text().await.unwrap();
    let items = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let line = |item: serde_json::Value| item["text"].as_str().map(str::to_owned);
    items.filter_map(line).collect()
}

async fn output_problem(user: &User) -> (Code, u16) {
    let path = format!("{BUILDS}/1/jobs/make/output");
    let problem = user.refused(Method::GET, &path, None).await;
    assert!(problem.detail.contains("does not have it any more"), "{problem:?}");
    (problem.code, problem.status)
}

/// Ended because `east` did not have the output of a parent.
fn without(parent: JobId, manifest: Digest) -> Phase {
    let Phase::Ended(end) = ended(TerminalState::Error, 0, None) else {
        unreachable!()
    };
    let lost = LostInput {
        parent,
        manifest,
        missing: vec![name("east")],
        unreachable: Vec::new(),
    };
    Phase::Ended(Outcome {
        started_at: None,
        lost_inputs: vec![lost],
        ..end
    })
}

/// What users see of how the job ended is the same.
fn assert_same_end(one: &Job, other: &Job) {
    let end = |job: &Job| (job.state, job.exit_code, job.log_lines, job.started_at, job.ended_at);
    assert_eq!(end(one), end(other));
    assert_eq!((&one.cluster, &one.message), (&other.cluster, &other.message));
}

fn is_recovering(build: &Build) -> bool {
    build.jobs[0].recovery.is_some()
}

#[tokio::test]
async fn a_job_stays_as_it_ended_while_its_output_is_made_again() {
    let master = Master::start().await;
    let user = &master.user;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(user, CHAIN).await;
    let output = OutputReference {
        manifest: Digest::new([7; 32]),
        bytes: 5,
        files: 1,
    };
    let first = session.assignment().await.attempt;
    session.run(first).await;
    east.push(first, 0, &[b"the first"]).await;
    session
        .report(first, ended(TerminalState::Finished, 1, Some(output)))
        .await;
    let child = session.order_pair().await;
    assert_eq!(child.inputs[0].sources[0].cluster, name("east"));
    let before = wait_for(user, 1, |build| build.jobs[0].state == JobState::Finished).await;

    session.report(child.attempt, without(first.job, output.manifest)).await;
    let second = session.order_pair().await.attempt;
    assert_eq!((second.job, second.epoch.0), (first.job, 2));

    let recovering = wait_for(user, 1, is_recovering).await;
    let job = &recovering.jobs[0];
    assert_same_end(job, &before.jobs[0]);
    let recovery = job.recovery.as_ref().unwrap();
    assert_eq!((recovery.state, recovery.epoch), (JobState::Assigned, 2));
    assert_eq!(recovery.cluster, Some(name("east")));
    assert_eq!(recovering.jobs[1].state, JobState::Waiting);
    assert_eq!(output_problem(user).await, (Code::OutputRecovering, 409));
    let explained: Explanation = user.get(&format!("{BUILDS}/1/jobs/make/explain")).await;
    assert!(
        explained
            .summary
            .contains("and is made again: it was given to cluster `east`"),
        "{explained:?}"
    );

    session.run(second).await;
    east.push(second, 0, &[b"the second"]).await;
    assert_eq!(log(user, "").await, ["the first"]);
    assert_eq!(log(user, "?epoch=2").await, ["the second"]);
    session.report(second, ended(TerminalState::Failure, 1, None)).await;
    let over = wait_for(user, 1, |build| build.summary.state.is_terminal()).await;
    let states: Vec<JobState> = over.jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Finished, JobState::Error]);
    assert_eq!(over.jobs[0].recovery, None);
    let lost = over.jobs[0].output_lost.as_deref().unwrap();
    assert!(
        lost.ends_with("; an attempt to make it again ended as `failure`"),
        "{lost}"
    );
    assert!(over.jobs[1].message.ends_with(lost), "{}", over.jobs[1].message);
    assert_eq!(output_problem(user).await, (Code::OutputLost, 410));
    assert_eq!(log(user, "").await, ["the first"]);
    assert_eq!(log(user, "?follow=true").await, ["the first"]);
    let explained: Explanation = user.get(&format!("{BUILDS}/1/jobs/make/explain")).await;
    assert!(explained.summary.contains("; its output is lost: "), "{explained:?}");
}

#[tokio::test]
async fn an_output_that_went_with_its_cluster_is_shown_as_lost() {
    let master = Master::start().await;
    let user = &master.user;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    let alone = "version: 1\njobs:\n  - {name: make, type: docker-image, image: i, command: [make]}\n";
    submit(user, alone).await;
    let output = OutputReference {
        manifest: Digest::new([7; 32]),
        bytes: 5,
        files: 1,
    };
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    session
        .report(attempt, ended(TerminalState::Finished, 0, Some(output)))
        .await;
    let over = wait_for(user, 1, |build| build.summary.state.is_terminal()).await;
    assert_eq!(over.jobs[0].output_lost, None);
    assert_eq!(
        user.delete("/api/v1/clusters/east").await,
        204,
        "nothing needs it any more"
    );
    assert_lost_with_east(user).await;
    let another = Agent::join(&master, "east", &["AWS"]).await;
    let _session = another.connect(Vec::new()).await;
    assert_lost_with_east(user).await;
}

/// What the job has left is lost, whatever cluster has that name now.
async fn assert_lost_with_east(user: &User) {
    let expected = "cluster `east`, which had it, was removed";
    let build: Build = user.get(&format!("{BUILDS}/1")).await;
    let job: Job = user.get(&format!("{BUILDS}/1/jobs/make")).await;
    for shown in [&build.jobs[0], &job] {
        assert_eq!(shown.output_lost.as_deref(), Some(expected));
        assert_eq!(shown.state, JobState::Finished);
    }
    let problem = user
        .refused(Method::GET, &format!("{BUILDS}/1/jobs/make/output"), None)
        .await;
    assert_eq!((problem.code, problem.status), (Code::OutputLost, 410));
    assert_eq!(problem.detail, format!("the output of job `make` is lost: {expected}"));
}
