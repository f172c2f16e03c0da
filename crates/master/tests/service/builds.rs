//! Builds from submission to their end.

use http::Method;
use serde_json::{Value, json};
use tombolo_api::{Build, BuildList, BuildState, CancelledQueue, Code, Explanation, Job, JobState, LogItem};
use tombolo_core::attempt::{Outcome, Phase};
use tombolo_core::build::TerminalState;
use tombolo_core::id::{AttemptId, Epoch};
use tombolo_core::session::{AttemptReport, StopReason};

use crate::agent::{Agent, ended};
use crate::setting::{Master, User};

pub(crate) const BUILDS: &str = "/api/v1/projects/default/builds";

/// Two jobs, the second after the first.
pub(crate) const CHAIN: &str = "\
version: 1
jobs:
  - {name: make, type: docker-image, image: i, command: [make], cluster: {selector: [AWS]}}
  - {name: test, type: docker-image, image: i, command: [test], depends_on: [make]}
";

pub(crate) async fn submit(user: &User, text: &str) -> Build {
    user.post(
        BUILDS,
        json!({"job_file": {"name": "tombolo.yaml", "text": text}, "revision": {"branch": "main"}}),
    )
    .await
}

pub(crate) async fn show(user: &User, number: u64) -> Build {
    user.get(&format!("{BUILDS}/{number}")).await
}

/// Asks until it is so.
pub(crate) async fn wait_for(user: &User, number: u64, wanted: impl Fn(&Build) -> bool) -> Build {
    let asking = async {
        loop {
            let build = show(user, number).await;
            if wanted(&build) {
                return build;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(crate::setting::DEADLINE, asking).await.unwrap()
}

async fn log(user: &User, number: u64, job: &str, query: &str) -> Vec<LogItem> {
    let path = format!("{BUILDS}/{number}/jobs/{job}/log?{query}");
    let text = user.send(Method::GET, &path, None).await.text().await.unwrap();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn texts(items: &[LogItem]) -> Vec<String> {
    let text = |item: &LogItem| match item {
        LogItem::Line { text, .. } => Some(text.clone()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

#[tokio::test]
async fn a_build_from_its_submission_to_its_end() {
    let master = Master::start().await;
    let user = &master.user;
    let submitted = submit(user, CHAIN).await;
    assert_eq!(
        (submitted.summary.number, submitted.summary.state),
        (1, BuildState::Running)
    );
    assert_eq!(submitted.summary.submitted_by, "admin");
    assert_eq!(submitted.jobs[0].waiting.as_deref(), Some("no cluster has joined"));
    assert_eq!(submitted.jobs[0].selector, ["AWS"]);
    assert_eq!(
        (submitted.jobs[1].state, submitted.jobs[1].parents[0].name.as_str()),
        (JobState::Waiting, "make")
    );

    let west = Agent::join(&master, "west", &["GCP"]).await;
    let _idle = west.connect(Vec::new()).await;
    let explained: Explanation = user.get(&format!("{BUILDS}/1/jobs/make/explain")).await;
    assert!(
        !explained.clusters[0].fits && explained.clusters[0].misses[0].kind == "label",
        "{explained:?}"
    );

    let east = Agent::join(&master, "east", &["AWS", "region=us"]).await;
    let mut session = east.connect(Vec::new()).await;
    let assignment = session.assignment().await;
    assert_eq!((assignment.job.name.as_str(), assignment.build.number), ("make", 1));
    assert_eq!(assignment.build.revision.branch.as_deref(), Some("main"));
    let attempt = assignment.attempt;
    session.run(attempt).await;
    assert_eq!(east.push(attempt, 0, &[b"one", b"\xfftwo"]).await.next_line, 2);
    session.report(attempt, ended(TerminalState::Failure, 2, None)).await;
    assert_eq!(session.forget_order().await, attempt);

    let over = wait_for(user, 1, |build| build.summary.state.is_terminal()).await;
    assert_eq!(over.summary.state, BuildState::Failure);
    let job = &over.jobs[0];
    assert_eq!(
        (job.state, job.exit_code, job.log_lines),
        (JobState::Failure, Some(1), Some(2))
    );
    assert_eq!(job.cluster.as_ref().map(|name| name.as_str()), Some("east"));
    assert_eq!(over.jobs[1].state, JobState::Skipped);
    what_is_told_of_the_ended_build(user).await;
}

async fn what_is_told_of_the_ended_build(user: &User) {
    let items = log(user, 1, "make", "follow=true").await;
    assert_eq!(texts(&items), ["one", "\u{fffd}two"]);
    assert_eq!(
        items.last(),
        Some(&LogItem::End {
            lines: 2,
            state: JobState::Failure
        })
    );
    assert_eq!(texts(&log(user, 1, "make", "from=1").await), ["\u{fffd}two"]);
    assert_eq!(
        user.refused(Method::POST, &format!("{BUILDS}/1/cancel"), None)
            .await
            .code,
        Code::Conflict
    );
    let refused = user
        .refused(Method::GET, &format!("{BUILDS}/1/jobs/make/log?epoch=2"), None)
        .await;
    assert_eq!(refused.code, Code::NotFound);
    let explained: Explanation = user.get(&format!("{BUILDS}/1/jobs/make/explain")).await;
    assert!(
        explained
            .summary
            .contains("failure (exit code 1); it ran on cluster `east`, which met its selector `AWS`"),
        "{explained:?}"
    );
    assert!(
        explained.clusters.is_empty(),
        "how the clusters are now does not matter"
    );
}

#[tokio::test]
async fn a_log_that_is_none_ends_alone() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    let mut attempts = Vec::new();
    for _ in 0..2 {
        submit(&master.user, CHAIN).await;
        let attempt = session.assignment().await.attempt;
        session.run(attempt).await;
        attempts.push(attempt);
    }
    let too_long = vec![b'x'; tombolo_core::log::LINE_BYTES_MAX + 1];
    let answers = east
        .push_all(&[(attempts[0], &too_long), (attempts[1], b"good"), (attempts[0], b"late")])
        .await;
    assert!(answers[0].refused);
    assert_eq!((answers[1].refused, answers[1].next_line), (false, 1));
    assert_eq!(answers.len(), 3, "the stream goes on");
}

#[tokio::test]
async fn what_is_being_cancelled_is_shown() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    let user = &master.user;
    let listed = async || -> bool {
        let list: tombolo_api::BuildList = user.get(BUILDS).await;
        list.builds[0].cancelling
    };
    assert!(!listed().await && !show(user, 1).await.summary.cancelling);
    let cancelled = user.send(Method::POST, &format!("{BUILDS}/1/cancel"), None).await;
    assert_eq!(cancelled.status(), 202);
    assert!(listed().await && show(user, 1).await.summary.cancelling);
    session.stop_order().await;
    session.report(attempt, ended(TerminalState::Killed, 0, None)).await;
    wait_for(user, 1, |build| build.summary.state.is_terminal()).await;
    assert!(!listed().await && !show(user, 1).await.summary.cancelling);
}

#[tokio::test]
async fn a_log_is_followed_until_it_is_whole() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let user = master.user.clone();
    let following = tokio::spawn(async move { log(&user, 1, "make", "follow=true").await });
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    for number in 0..5 {
        let line = format!("line {number}");
        assert_eq!(
            east.push(attempt, number, &[line.as_bytes()]).await.next_line,
            number + 1
        );
    }
    // The end is known before the last line is there: the follower waits for it.
    session.report(attempt, ended(TerminalState::Finished, 6, None)).await;
    assert_eq!(session.forget_order().await, attempt);
    let again = east.push(attempt, 3, &[b"line 3", b"line 4", b"line 5"]).await;
    assert_eq!(
        (again.next_line, again.refused),
        (6, false),
        "what is there already is left out"
    );
    let items = following.await.unwrap();
    assert!(matches!(&items[0], LogItem::Attempt { epoch: 1, .. }), "{items:?}");
    assert_eq!(
        texts(&items),
        (0..6).map(|number| format!("line {number}")).collect::<Vec<_>>()
    );
    assert_eq!(
        items.last(),
        Some(&LogItem::End {
            lines: 6,
            state: JobState::Finished
        })
    );
}

#[tokio::test]
async fn lines_of_attempts_that_are_not_ones_own_are_refused() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let west = Agent::join(&master, "west", &["GCP"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    let later = AttemptId {
        epoch: Epoch(attempt.epoch.0 + 1),
        ..attempt
    };
    let unknown = AttemptId {
        job: tombolo_core::id::JobId::from_u128(7),
        epoch: Epoch(1),
    };
    for (agent, attempt, refused) in [
        (&west, attempt, true),
        (&east, later, true),
        (&east, unknown, true),
        (&east, attempt, false),
    ] {
        assert_eq!(agent.push(attempt, 0, &[b"x"]).await.refused, refused, "{attempt}");
    }
    session.report(attempt, ended(TerminalState::Failure, 1, None)).await;
    wait_for(&master.user, 1, |build| build.summary.state.is_terminal()).await;
    assert!(
        west.push(attempt, 1, &[b"x"]).await.refused,
        "also when the build is over"
    );
    assert!(!east.push(attempt, 1, &[b"y"]).await.refused);
}

/// Its machine died, and its disk did not: what it wrote before is taken, and no more.
#[tokio::test]
async fn the_log_of_an_attempt_that_was_lost_is_taken_to_its_end() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let west = Agent::join(&master, "west", &["GCP"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    assert!(!east.push(attempt, 0, &[b"one"]).await.refused);
    let Phase::Ended(outcome) = ended(TerminalState::Error, 3, None) else {
        unreachable!()
    };
    session
        .report(attempt, Phase::Ended(Outcome { lost: true, ..outcome }))
        .await;
    assert_eq!(session.forget_order().await, attempt);
    let again = session.assignment().await.attempt;
    assert_eq!(again.epoch, Epoch(attempt.epoch.0 + 1));
    assert!(west.push(attempt, 1, &[b"two"]).await.refused, "it was not there");
    assert!(
        east.push(attempt, 1, &[b"two", b"three", b"four"]).await.refused,
        "too many"
    );
    assert!(!east.push(attempt, 1, &[b"two", b"three"]).await.refused);
    assert!(east.push(attempt, 3, &[b"four"]).await.refused, "too many");
    session.run(again).await;
    session.report(again, ended(TerminalState::Finished, 0, None)).await;
    let over = wait_for(&master.user, 1, |build| build.jobs[0].state == JobState::Finished).await;
    let [replaced] = &over.jobs[0].replaced[..] else {
        panic!("{over:?}")
    };
    let found = (replaced.epoch, replaced.cluster.as_str(), replaced.log_lines);
    assert_eq!(found, (attempt.epoch.0, "east", Some(3)));
    assert!(replaced.reason.contains("ended with its machine"), "{replaced:?}");
    assert!(!east.push(attempt, 3, &[]).await.refused, "also later");
    let explained: Explanation = master.user.get(&format!("{BUILDS}/1/jobs/make/explain")).await;
    assert!(
        explained
            .summary
            .contains("attempt 1 on cluster `east` was lost: its command ended with its machine"),
        "{explained:?}"
    );
    let log = master
        .user
        .send(Method::GET, &format!("{BUILDS}/1/jobs/make/log?epoch=1"), None)
        .await;
    let log = log.text().await.unwrap();
    let items: Vec<LogItem> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = items
        .iter()
        .filter_map(|item| match item {
            LogItem::Line { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["one", "two", "three"], "{items:?}");
    assert!(
        matches!(&items[0], LogItem::Attempt { epoch: 1, cluster: Some(cluster) } if cluster == "east"),
        "{items:?}"
    );
    assert_eq!(
        items.last(),
        Some(&LogItem::End {
            lines: 3,
            state: JobState::Error
        })
    );
}

#[tokio::test]
async fn cancelling_stops_what_runs_and_is_final() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    wait_for(&master.user, 1, |build| build.jobs[0].state == JobState::Running).await;
    let path = format!("{BUILDS}/1/jobs/make/cancel");
    assert_eq!(master.user.send(Method::POST, &path, None).await.status(), 202);
    assert_eq!(session.stop_order().await, (attempt, StopReason::Cancelled));
    session.report(attempt, ended(TerminalState::Killed, 0, None)).await;
    let over = wait_for(&master.user, 1, |build| build.summary.state.is_terminal()).await;
    assert_eq!(
        (over.summary.state, over.jobs[0].state),
        (BuildState::Killed, JobState::Killed)
    );
    let refused = master.user.refused(Method::POST, &path, None).await;
    assert_eq!(refused.code, Code::Conflict, "{refused}");
}

#[tokio::test]
async fn what_waits_is_cancelled_without_what_runs() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    let running = wait_for(&master.user, 1, |build| build.jobs[0].state == JobState::Running).await;
    let _: serde_json::Value = master
        .user
        .post("/api/v1/projects", serde_json::json!({"name": "other"}))
        .await;
    let queue = |project: &str| format!("/api/v1/projects/{project}/queue/cancel");
    let cancel = async |project: &str| -> CancelledQueue {
        let answer = master.user.send(Method::POST, &queue(project), None).await;
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    };
    assert_eq!(cancel("other").await, CancelledQueue { jobs: 0, builds: 0 });
    let waited = u64::try_from(running.jobs.len()).unwrap() - 1;
    assert!(waited > 0);
    assert_eq!(
        cancel("default").await,
        CancelledQueue {
            jobs: waited,
            builds: 1
        }
    );
    assert_eq!(cancel("default").await, CancelledQueue { jobs: 0, builds: 0 });
    let now = show(&master.user, 1).await;
    assert_eq!(now.jobs[0].state, JobState::Running, "what runs goes on");
    assert!(now.jobs[1..].iter().all(|job| job.state == JobState::Killed), "{now:?}");
    session.report(attempt, ended(TerminalState::Finished, 0, None)).await;
    let over = wait_for(&master.user, 1, |build| build.summary.state.is_terminal()).await;
    assert_eq!(over.jobs[0].state, JobState::Finished);
    let viewer = master.user_with("viewer", Some("default")).await;
    let refused = viewer.refused(Method::POST, &queue("default"), None).await;
    assert_eq!(refused.code, Code::Forbidden, "{refused}");
}

#[tokio::test]
async fn a_restart_of_the_master_takes_up_what_runs() {
    let master = Master::start().await;
    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    submit(&master.user, CHAIN).await;
    let attempt = session.assignment().await.attempt;
    session.run(attempt).await;
    wait_for(&master.user, 1, |build| build.jobs[0].state == JobState::Running).await;
    drop(session);
    let master = master.restart().await;
    // The port is another one; the certificate is good all the same.
    let channel = crate::agent::channel(&master, &east.identity).await;
    let east = Agent { channel, ..east };
    let phase = Phase::Running {
        started_at: tombolo_core::time::Timestamp(1),
        inputs: Vec::new(),
    };
    let mut session = east.connect(vec![AttemptReport { attempt, phase }]).await;
    session.report(attempt, ended(TerminalState::Failure, 0, None)).await;
    assert_eq!(session.forget_order().await, attempt);
    let over = wait_for(&master.user, 1, |build| build.summary.state.is_terminal()).await;
    assert_eq!(
        (over.jobs[0].state, over.jobs[0].epoch),
        (JobState::Failure, 1),
        "it was not started again"
    );
}

#[tokio::test]
async fn builds_are_listed_by_pages() {
    let master = Master::start().await;
    for _ in 0..5 {
        submit(&master.user, CHAIN).await;
    }
    let mut numbers = Vec::new();
    let mut before = String::new();
    loop {
        let page: BuildList = master.user.get(&format!("{BUILDS}?limit=2{before}")).await;
        numbers.extend(page.builds.iter().map(|build| build.number));
        match page.next_before {
            Some(number) => before = format!("&before={number}"),
            None => break,
        }
    }
    assert_eq!(numbers, [5, 4, 3, 2, 1]);
    let job: Job = master.user.get(&format!("{BUILDS}/3/jobs/test")).await;
    assert_eq!(job.name.as_str(), "test");
    let gone = master
        .user
        .refused(Method::GET, &format!("{BUILDS}/3/jobs/a%2Fb"), None)
        .await;
    assert_eq!(gone.code, Code::NotFound, "{gone}");
    let running = master
        .user
        .refused(Method::DELETE, "/api/v1/projects/default", None)
        .await;
    assert_eq!(running.code, Code::Conflict, "{running}");
    let _: Value = master.user.get("/api/v1/projects/default").await;
}
